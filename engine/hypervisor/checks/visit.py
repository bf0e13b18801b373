"""What a check is, what it finds, and what the checks of one run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.hypervisor.connection import HostConnection
from engine.hypervisor.host import HostAddress
from engine.hypervisor.profile import UNREAD, HostProfile
from engine.hypervisor.ssh import Completed, SshSession
from engine.settings import EngineSettings

OK, WARNING, FAILED = "ok", "warning", "failed"
"""How a check ended. A warning is shown with its remedy, and keeps nothing from running."""

BOTH, VIRTUALIZATION, DISKS, STORAGE = "both", "virtualization", "disk_operations", "storage"
"""What a check affects. STORAGE: only what lies on that one path."""

SIGN_OF_LIFE_S = 4.0


@dataclass(frozen=True)
class Finding:
    level: str
    message: str
    remedy: str = ""


def passed(message: str) -> Finding:
    return Finding(OK, message)


def warned(message: str, remedy: str) -> Finding:
    return Finding(WARNING, message, remedy)


def failed(message: str, remedy: str) -> Finding:
    return Finding(FAILED, message, remedy)


@dataclass
class Visit:
    """One run of the checks: each adds what the later ones need. `viewer`: where the host's
    websocket proxy should answer; by default its own name and the port it publishes.
    `ticket_keys`: public keys of viewer tickets that it should have, by id.
    """

    address: HostAddress
    settings: EngineSettings
    capabilities: Mapping[str, bool]
    installation: str
    viewer: tuple[str, int] | None
    ssh: SshSession
    connection: HostConnection
    profile: HostProfile = UNREAD
    info: dict[str, Any] = field(default_factory=dict)
    ticket_keys: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def begin(
        address: HostAddress,
        settings: EngineSettings,
        capabilities: Mapping[str, bool],
        *,
        installation: str = "",
        viewer: tuple[str, int] | None = None,
        ticket_keys: Mapping[str, str] | None = None,
    ) -> Visit:
        connection = HostConnection(
            address, settings, lambda _event: None, lambda _why: None, installation=installation
        )
        ssh = SshSession(address, settings)
        return Visit(
            address,
            settings,
            capabilities,
            installation,
            viewer,
            ssh,
            connection,
            ticket_keys=ticket_keys or {},
        )

    def end(self) -> None:
        """Any thread may: what is under way raises HostLost."""
        self.ssh.close()
        self.connection.close()

    def ask_sign_of_life(self) -> None:
        """Raises HostLost where it runs no command at all any more."""
        self.ssh.run(["true"], timeout_s=SIGN_OF_LIFE_S)

    def run(self, program: str, *values: str, label: str, check: bool = True) -> Completed:
        """A constant program on the host, that gets its values as "$1", "$2" …"""
        return self.ssh.run(
            ["sh", "-c", program, "isard", *values],
            timeout_s=self.settings.call_timeout_s,
            label=label,
            check=check,
        )


@dataclass(frozen=True)
class Check:
    """`needs`: names of checks that must not have failed. `remedy`: where it ends with an error
    instead of a finding.
    """

    name: str
    title: str
    affects: str
    needs: tuple[str, ...]
    look: Callable[[Visit], Finding]
    remedy: str = ""
    only_warns: bool = False
