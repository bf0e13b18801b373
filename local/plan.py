"""Which processes make the product on one machine, in which order, and how each is known to be
up: a table.

The supervisor walks it downwards to start and upwards to stop; the first rows of the database are
made in between. Another process is another row.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from hyper_image import settings as host_settings
from hyper_image.settings import HostSettings
from local.settings import HYPERVISOR_ID, LocalSettings

HOST_STOP_TIMEOUT_S = 12.0


@dataclass(frozen=True)
class Process:
    """`is_up`, given the process number: far enough for the first rows to be made; None: nothing
    waits for it. `up_timeout_s`: from then on its not being up is worth a word. `after_seed`: needs
    the first rows. What does not need root runs as the owner of the checkout.
    """

    name: str
    title: str
    argv: list[str]
    is_up: Callable[[int], bool] | None
    up_timeout_s: float
    stop_timeout_s: float
    after_seed: bool = False
    needs_root: bool = False

    def digest(self, environment: dict[str, str]) -> str:
        """Differs when the process would be started differently."""
        ours = {key: value for key, value in environment.items() if key.startswith("ISARD_")}
        text = json.dumps([self.argv, ours], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def processes(settings: LocalSettings) -> list[Process]:
    """In the order of starting."""
    kernel = settings.kernel
    host = host_of(settings)
    python = [sys.executable, "-m"]
    return [
        Process(
            "db",
            "database",
            [
                *(*python, "db.embedded", "--data", str(settings.data / "db")),
                *("--host", "127.0.0.1", "--port", str(kernel.db_port)),
            ],
            lambda _pid: accepts("127.0.0.1", kernel.db_port),
            up_timeout_s=60,
            stop_timeout_s=30,
        ),
        Process(
            "host",
            "hypervisor",
            [*python, "hyper_image", "local", *host_settings.as_arguments(host)],
            lambda pid: host_pid(host) == pid,
            up_timeout_s=90,
            stop_timeout_s=HOST_STOP_TIMEOUT_S + 25,
            needs_root=True,
        ),
        Process("engine", "engine", [*python, "engine"], None, 0, 20, after_seed=True),
        Process("webapp", "web pages", [*python, "webapp"], None, 0, 15, after_seed=True),
    ]


def host_of(settings: LocalSettings) -> HostSettings:
    kernel = settings.kernel
    return HostSettings(
        id=HYPERVISOR_ID,
        data=settings.data,
        ssh_host="127.0.0.1",
        ssh_port=kernel.ssh_port,
        viewer_host=kernel.host,
        viewer_port=kernel.viewer_port,
        probe_kernel=settings.images / "vmlinuz",
        probe_initramfs=settings.images / "initramfs",
        uplink=True,
        stop_timeout_s=HOST_STOP_TIMEOUT_S,
    )


def host_pid(host: HostSettings) -> int | None:
    """The process of the hypervisor that is up; it says so itself, in a file."""
    try:
        return int(json.loads(host.state_file.read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def accepts(host: str, port: int) -> bool:
    """Somebody listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(2)
        return client.connect_ex((host, port)) == 0


def ports(settings: LocalSettings) -> list[tuple[str, str, int]]:
    """(variable, address, port) of everything that listens on this machine."""
    kernel = settings.kernel
    return [
        ("ISARD_DB_PORT", "127.0.0.1", kernel.db_port),
        ("ISARD_SSH_PORT", "127.0.0.1", kernel.ssh_port),
        ("ISARD_VIEWER_PORT", kernel.host, kernel.viewer_port),
        ("ISARD_WEB_PORT", kernel.host, kernel.web_port),
    ]
