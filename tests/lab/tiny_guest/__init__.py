"""A guest of 512 bytes for tests: a picture in under a second without KVM, and a real ACPI
shutdown.

`build(path)` assembles `tiny.s` into a qcow2 image (the counter of its boots lies in the second
sector, so an overlay keeps its own); `build_installer()` is an ISO image that installs it;
`domain_xml` describes a domain that boots it. Use `slow=True` where many run at once.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path

import libvirt
from PIL import Image

from tests.lab.iso import make_iso

SOURCE = Path(__file__).with_name("tiny.s")
INSTALLER = SOURCE.with_name("installer.s")
IMAGE_BYTES = 1 << 20
BOOT_SECTOR_BYTES = 512
TOOL_TIMEOUT_S = 30
VNC_PASSWORD = "tinytest"


def build(image: Path, slow: bool = False) -> Path:
    """Make the qcow2 image; needs binutils and qemu-img."""
    code = assemble(SOURCE, "--defsym", "SLOW=1") if slow else assemble(SOURCE)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "tiny.raw")
        raw.write_bytes(code.ljust(IMAGE_BYTES, b"\0"))
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))
    return image


def build_installer() -> bytes:
    """An ISO image that installs the guest onto an empty disk and powers off."""
    return make_iso(boot=assemble(INSTALLER) + assemble(SOURCE), label="INSTALLER")


def assemble(source: Path, *options: str) -> bytes:
    """One sector of code."""
    with tempfile.TemporaryDirectory() as folder:
        compiled, sector = Path(folder, "code.o"), Path(folder, "code.bin")
        run("as", "--32", *options, "-o", str(compiled), str(source))
        run(
            *("ld", "-m", "elf_i386", "-Ttext=0x7c00", "-e", "start", "--oformat=binary"),
            *("-o", str(sector), str(compiled)),
        )
        code = sector.read_bytes()
    assert len(code) == BOOT_SECTOR_BYTES, f"the boot sector has {len(code)} bytes"
    return code


def domain_xml(
    name: str, disk: Path | str, *, uuid: str = "", network: bool = False, memory_mib: int = 16
) -> str:
    """A domain that boots the image under emulation, with VNC on the host's loopback."""
    interface = (
        "<interface type='network'><source network='default'/><model type='virtio'/></interface>"
        if network
        else ""
    )
    return f"""<domain type='qemu'>
  <name>{name}</name>{f"<uuid>{uuid}</uuid>" if uuid else ""}
  <memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    {interface}
    <graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='{VNC_PASSWORD}'/>
    <video><model type='vga'/></video>
    <memballoon model='none'/>
  </devices>
</domain>"""


def picture(domain: libvirt.virDomain) -> Image.Image:
    """The guest's screen now, as libvirt takes it."""
    stream = domain.connect().newStream(0)
    domain.screenshot(stream, 0, 0)
    content = bytearray()
    stream.recvAll(lambda _stream, chunk, _opaque: content.extend(chunk) or 0, None)
    stream.finish()
    return Image.open(io.BytesIO(content)).convert("RGB")


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=TOOL_TIMEOUT_S, capture_output=True)
