"""Who a hypervisor host is: the few fields of its row that SSH and libvirt need. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HostAddress:
    """`host_key` is the accepted key as `ssh-ed25519 AAAA…`; None while none was accepted."""

    id: str
    hostname: str
    port: int
    user: str
    host_key: str | None

    def __str__(self) -> str:
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"


def is_same_key(accepted: str, offered: str) -> bool:
    """Compares type and key; a comment after them does not matter."""
    return accepted.split()[:2] == offered.split()[:2]
