"""The world of a local host, set up by its first process before any service starts.

`local.py` has opened fresh namespaces; here they are furnished: a private /run, /etc and
/var/lib/libvirt, accounts, a host name, a network with nothing but the guests' bridge to come.
What is to last lies in `<data>/host` and is mounted on the ordinary paths, so libvirt's tools
need no options. Pool paths are the same inside as outside. None of this is seen by the machine:
mounts are private, /etc is a view laid over the machine's.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

from hyper_image import accounts, guest_network
from hyper_image.configuration import write
from hyper_image.namespaces import make_root_real
from hyper_image.settings import HostSettings

# Folders of the host's own, kept in its data folder and seen at these paths.
PRIVATE_TREES = (
    "etc/libvirt",
    "etc/isard",
    "etc/ssh",
    "etc/pki/libvirt-spice",
    "var/lib/libvirt",
    "var/log/libvirt",
    "var/cache/libvirt",
    "var/log/swtpm",
    TPM_CERTIFICATES := "var/lib/swtpm-localca",
)
OVERLAY_LOWER = Path("/run/isard/lower")
SCRATCH = Path("/run/isard/keep")
COMMAND_TIMEOUT_S = 20.0
RESOLVER_FILE = "resolv.conf"


def furnish(settings: HostSettings) -> bool:
    """Make the private world. True if the guests' network is guarded, so that it may be joined to
    the outside.
    """
    os.umask(0o022)
    cwd = Path.cwd()
    make_root_real()
    os.chdir(cwd)
    socket.sethostname(settings.id)
    open_up_ancestors(settings)
    renew_sysfs()
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in ("/run/lock", "/run/sshd", "/run/isard"):
        Path(folder).mkdir(mode=0o755)
    overlay_etc(settings)
    # All places first: one that is laid over a folder would hide what is mounted in there already.
    for tree in PRIVATE_TREES:
        make_mount_point(Path("/", tree))
    for tree in PRIVATE_TREES:
        own, seen = settings.trees / tree, Path("/", tree)
        own.mkdir(mode=0o755, parents=True, exist_ok=True)
        mount("--bind", str(own), str(seen))
    open_kvm_to_qemu()
    shutil.chown(Path("/", TPM_CERTIFICATES), accounts.TPM_USER, accounts.TPM_USER)
    run("ip", "link", "set", "lo", "up")
    if not guest_network.is_available():
        return False
    guest_network.begin()
    return True


def overlay_etc(settings: HostSettings) -> None:
    """The machine's /etc with our accounts, names and mount points laid over it; read-only as a
    whole.
    """
    layer = OVERLAY_LOWER / "etc"
    files = accounts.private_accounts(
        Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
    )
    write(layer / "passwd", files.passwd)
    write(layer / "group", files.group)
    write(layer / "shadow", files.shadow, mode=0o600)
    write(layer / "hostname", settings.id + "\n")
    write(layer / "hosts", f"127.0.0.1 localhost {settings.id}\n::1 localhost\n")
    (layer / "resolv.conf").symlink_to(f"/etc/isard/{RESOLVER_FILE}")
    for tree in PRIVATE_TREES:
        if tree.startswith("etc/"):
            (OVERLAY_LOWER / tree).mkdir(mode=0o755, parents=True)
    mount("-t", "overlay", "-o", f"lowerdir={layer}:/etc", "overlay", "/etc")
    (settings.trees / "etc/isard/home").mkdir(mode=0o700, parents=True, exist_ok=True)


def make_mount_point(path: Path) -> None:
    """A folder the machine may lack, laid over the nearest one it has: nothing is created on the
    machine.
    """
    if path.is_dir():
        return
    parent = next(folder for folder in path.parents if folder.is_dir())
    layer = OVERLAY_LOWER / str(path).strip("/").replace("/", "-")
    (layer / path.relative_to(parent)).mkdir(mode=0o755, parents=True)
    mount("-t", "overlay", "-o", f"lowerdir={layer}:{parent}", "overlay", str(parent))


def renew_sysfs() -> None:
    """Show the new network's interfaces in /sys; the machine's control groups are not ours to
    see.
    """
    run("umount", "--recursive", "--lazy", "/sys")
    mount("-t", "sysfs", "sysfs", "/sys")


def open_up_ancestors(settings: HostSettings) -> None:
    """Let users without rights (QEMU, the viewer proxy) reach the data folder and this program
    where a folder above them is closed to others, such as /root.

    A closed folder is hidden, in this namespace only, behind an empty one that holds just what the
    host needs.
    """
    needed = sorted({settings.data, *program_folders()}, key=lambda folder: len(folder.parts))
    closed = {folder: outermost_closed(folder) for folder in needed}
    hidden = sorted({folder for folder in closed.values() if folder is not None})
    if not hidden:
        return
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    kept = [folder for folder in needed if closed[folder] is not None]
    for number, folder in enumerate(kept):
        place = SCRATCH / str(number)
        place.mkdir(parents=True)
        mount("--rbind", str(folder), str(place))
    for folder in hidden:
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
    for number, folder in enumerate(kept):
        if not folder.is_dir():
            folder.mkdir(mode=0o755, parents=True)
        mount("--rbind", str(SCRATCH / str(number)), str(folder))
    run("umount", "--recursive", "--lazy", "/run")


def outermost_closed(path: Path) -> Path | None:
    """The first folder on the way from / that others may not walk through."""
    return next((folder for folder in reversed(path.parents) if not is_traversable(folder)), None)


def program_folders() -> set[Path]:
    """Where this program and its Python come from."""
    return {
        Path(__file__).resolve().parent,
        Path(sys.prefix).resolve(),
        Path(sys.base_prefix).resolve(),
        Path(sys.executable).absolute().parent.parent,
    }


def is_traversable(folder: Path) -> bool:
    return bool(stat.S_IMODE(folder.stat().st_mode) & stat.S_IXOTH)


def open_kvm_to_qemu() -> None:
    """A private /dev/kvm for QEMU's group: on the machine it may belong to root alone."""
    device = Path("/dev/kvm")
    if not device.exists():
        return
    own = Path("/run/isard/kvm")
    os.mknod(own, stat.S_IFCHR | 0o660, device.stat().st_rdev)
    own.chmod(0o660)
    shutil.chown(own, "root", "kvm")
    mount("--bind", str(own), str(device))


def mount(*arguments: str) -> None:
    run("mount", *arguments)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL)
