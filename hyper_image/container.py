"""The host in a container: what must be so before its services start, and whether it is well.

`python -m hyper_image.container` is process 1 of the image. The container is the host's whole
world, so there are no namespaces to open as in `local.py`; but what lasts must lie in mounted
folders, which are checked here, and a container without privileges is refused with a sentence
instead of failing later in five ways. `… health` is the image's health check. Told by environment
variables, since that is how containers are told things; docs/install-docker.md lists them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from hyper_image import (
    accounts,
    configuration,
    guest_network,
    guests,
    root_password,
    services,
)
from hyper_image.settings import HostSettings, read_id

DATA = Path("/opt/isard")
DEMO = Path("/usr/share/isardvdi/demo")
DEMO_IMAGE = DATA / "images" / "demo.qcow2"
FOLDERS = ("bases", "templates", "groups", "media", "images", "logs")
DEFAULT_ID = "isard-hypervisor"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - in the container; the compose file decides what is published
SSH_PORT = 2022
VIEWER_PORT = 6080
AGAIN = "This container is started again by itself."
STOP_TIMEOUT_S = 60.0
HEALTH_TIMEOUT_S = 5.0
CAP_SYS_ADMIN = 21


class CannotRun(Exception):
    """The message says what is missing and what to do."""


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["health"]:
            return health()
        settings = read_settings(os.environ)
        check_privileges(Path("/proc/self/status").read_text())
        prepare(settings)
    except CannotRun as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1
    return services.serve(settings, say, lambda: say("The host is up."))


def read_settings(environ: Mapping[str, str]) -> HostSettings:
    """What the container was told. Raises CannotRun."""
    try:
        host_id = read_id(environ.get("ISARD_HYPERVISOR_ID") or DEFAULT_ID)
        stop_timeout_s = float(environ.get("ISARD_STOP_TIMEOUT") or STOP_TIMEOUT_S)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise CannotRun(f"A variable of this container is wrong: {error}") from error
    return HostSettings(
        id=host_id,
        data=DATA,
        ssh_host=EVERYWHERE,
        ssh_port=SSH_PORT,
        viewer_host=EVERYWHERE,
        viewer_port=VIEWER_PORT,
        probe_kernel=DEMO / "vmlinuz",
        probe_initramfs=DEMO / "initramfs",
        uplink=True,
        stop_timeout_s=stop_timeout_s,
    )


def check_privileges(status: str) -> None:
    """Raises CannotRun in a container that may not do what libvirt must do."""
    held = next(
        (line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0"
    )
    if not int(held, 16) >> CAP_SYS_ADMIN & 1:
        raise CannotRun(
            "This container must run privileged: QEMU, its control groups and the guests' network "
            "need it. Use the compose file, or docker run --privileged."
        )


def prepare(settings: HostSettings) -> None:
    """Folders, demo disk, KVM device, root password, and the guests' network guarded."""
    os.umask(0o022)
    forget_last_run(Path("/run"))
    for folder in FOLDERS:
        make_folder(settings.data / folder)
    make_folder(configuration.ISARD)
    Path(accounts.HOME).mkdir(mode=0o700, exist_ok=True)
    provide_demo_image()
    configuration.RUN.mkdir(mode=0o755, exist_ok=True)
    open_kvm_to_qemu(Path("/dev/kvm"))
    root_password.apply()
    guest_network.begin()


def forget_last_run(folder: Path) -> None:
    """A container keeps its /run when it is started again, as no machine does: libvirt would take
    the guests' network for started, and old pid files for processes. Mounts are not ours to empty.
    """
    mounts = mount_points()
    for entry in folder.iterdir():
        if any(mount == str(entry) or mount.startswith(f"{entry}/") for mount in mounts):
            continue
        if entry.is_symlink() or not entry.is_dir():
            entry.unlink()
        elif entry.name != guest_network.HOST_ADDRESSES.parent.name:
            shutil.rmtree(entry)


def mount_points() -> list[str]:
    """Of everything mounted in this container, whoever mounted it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # A space is written there as \040.
    return [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[4]) for line in lines]


def open_kvm_to_qemu(device: Path) -> None:
    """The container's own device node; the machine's stays as it is."""
    if device.exists():
        shutil.chown(device, "root", "kvm")
        device.chmod(0o660)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        probe = folder / ".isard-writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotRun(
            f"{folder} cannot be written ({error.strerror}): mend or free that disk. {AGAIN}"
        ) from error


def provide_demo_image() -> None:
    """The demo desktop's disk, to make a template of. What is there is left alone."""
    source = DEMO / "demo.qcow2"
    if DEMO_IMAGE.exists() or not source.exists():
        return
    unfinished = DEMO_IMAGE.with_name(f".new-{DEMO_IMAGE.name}")
    try:
        unfinished.write_bytes(source.read_bytes())
        unfinished.replace(DEMO_IMAGE)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise CannotRun(
            f"{DEMO_IMAGE} cannot be written ({error.strerror}): mend or free that disk. {AGAIN}"
        ) from error


def health() -> int:
    """0 if libvirt, sshd and the viewer proxy answer. Prints what does not."""
    if not (configuration.RUN / "sshd.pid").exists():
        raise CannotRun("sshd does not run.")
    try:
        virsh = subprocess.run(
            [*guests.VIRSH, "version"],
            capture_output=True,
            timeout=HEALTH_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRun("libvirtd does not answer in time.") from error
    if virsh.returncode != 0:
        raise CannotRun(f"libvirt: {virsh.stderr.decode(errors='replace').strip()}")
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{VIEWER_PORT}/healthz", timeout=HEALTH_TIMEOUT_S
        ):
            return 0
    except (urllib.error.URLError, TimeoutError) as error:
        raise CannotRun(f"The viewer proxy does not answer: {error}") from error


def say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
