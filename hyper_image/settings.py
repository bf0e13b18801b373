"""What one hypervisor host is told at its start: read from the command line, the same outside and
inside.

The outer program (`local.py`) passes its own arguments on to the one inside the namespaces, so
there is one parser and no second format. In a container the same options are given by the
entrypoint. Folders follow the contract of docs/install.md: everything that lasts lies below
`data`.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class HostSettings:
    """One hypervisor host. Ports are TCP ports of the machine, folders absolute."""

    id: str
    data: Path
    ssh_host: str
    ssh_port: int
    viewer_host: str
    viewer_port: int
    probe_kernel: Path | None
    probe_initramfs: Path | None
    uplink: bool
    stop_timeout_s: float

    @property
    def trees(self) -> Path:
        """The host's own /etc, /var and home, kept between starts."""
        return self.data / "host"

    @property
    def storage(self) -> Path:
        return self.data / "storage"

    @property
    def certificates(self) -> Path:
        return self.data / "certs" / "default"

    @property
    def engine_key(self) -> Path:
        """The public key that may log in."""
        return self.data / "ssh" / "id_ed25519.pub"

    @property
    def state_file(self) -> Path:
        """Written while the host is up: the processes that make it."""
        return self.data / "run" / "host.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", required=True, type=read_id, help="this host's id in the product")
    parser.add_argument("--data", required=True, type=Path, help="the folder of this installation")
    parser.add_argument("--ssh-host", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument("--ssh-port", required=True, type=int)
    parser.add_argument("--viewer-host", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument("--viewer-port", required=True, type=int)
    parser.add_argument("--probe-kernel", type=Path, help="a Linux kernel to try KVM with")
    parser.add_argument("--probe-initramfs", type=Path)
    parser.add_argument("--no-uplink", action="store_true", help="guests reach nothing outside")
    parser.add_argument("--stop-timeout", type=float, default=20.0, metavar="SECONDS")


def from_arguments(arguments: argparse.Namespace) -> HostSettings:
    return HostSettings(
        id=arguments.id,
        data=arguments.data.resolve(),
        ssh_host=arguments.ssh_host,
        ssh_port=arguments.ssh_port,
        viewer_host=arguments.viewer_host,
        viewer_port=arguments.viewer_port,
        probe_kernel=arguments.probe_kernel,
        probe_initramfs=arguments.probe_initramfs,
        uplink=not arguments.no_uplink,
        stop_timeout_s=arguments.stop_timeout,
    )


def as_arguments(settings: HostSettings) -> list[str]:
    """The same settings as a command line, for the program inside and for whoever starts a host."""
    words = [
        *("--id", settings.id),
        *("--data", str(settings.data)),
        *("--ssh-host", settings.ssh_host),
        *("--ssh-port", str(settings.ssh_port)),
        *("--viewer-host", settings.viewer_host),
        *("--viewer-port", str(settings.viewer_port)),
        *("--stop-timeout", str(settings.stop_timeout_s)),
    ]
    if settings.probe_kernel is not None and settings.probe_initramfs is not None:
        words += ["--probe-kernel", str(settings.probe_kernel)]
        words += ["--probe-initramfs", str(settings.probe_initramfs)]
    return words if settings.uplink else [*words, "--no-uplink"]


def read_id(text: str) -> str:
    if not ID_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no host id: small letters, digits and hyphens, at most 63."
        )
    return text
