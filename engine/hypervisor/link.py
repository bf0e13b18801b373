"""One open libvirt connection, with the ssh process beneath it and the calls that are under way.

libvirt frees a connection under the calls that still wait in it, so they are counted, and who ends
a link waits for them. Made and ended by engine.hypervisor.connection.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import libvirt

from db.logs import get_logger
from engine.hypervisor.deadline import CallSlots, LateCall
from engine.hypervisor.ssh_program import SshProgram

log = get_logger(__name__)

T = TypeVar("T")

ONE_CALL_AT_A_TIME = libvirt.getVersion() < 10_004_000
"""Before 10.4 libvirt's client library writes into the stack of a call that has returned, where a
second call or its own keepalive message came in between (CVE-2024-4418): now and then the whole
engine ends. So with such a library each connection has one call at a time, and a dead link is
noticed by ssh (ssh_program.py) as fast as libvirt would.
"""
DISPOSE_TIMEOUT_S = 5.0

_kept: list[Link] = []
"""Connections with a call that nothing ended: closing one would take its memory from under it."""


@dataclass
class Link:
    """One open libvirt connection. `ended` is set once, by whoever ends it."""

    host: str
    connection: Any
    program: SshProgram
    callbacks: list[int] = field(default_factory=list)
    ended: bool = False
    _calls: int = 0
    _free: threading.Condition = field(default_factory=threading.Condition)

    def use(self, function: Callable[[Any], T]) -> T:
        """Counted, because libvirt frees a connection under the calls that still wait in it."""
        with self._free:
            if self.ended:
                raise libvirt.libvirtError("the connection has ended")
            self._calls += 1
        try:
            return function(self.connection)
        finally:
            with self._free:
                self._calls -= 1
                self._free.notify_all()

    def wait_unused(self, timeout_s: float) -> bool:
        with self._free:
            return self._free.wait_for(lambda: self._calls == 0, timeout_s)

    def dispose(self) -> None:
        """Closes politely where the host still listens; then the process is ended anyway. Never
        while a call is under way: ending the process makes those return.
        """
        if not self.wait_unused(0.0):
            self.program.end()
        if not self.wait_unused(DISPOSE_TIMEOUT_S):
            log.error("hypervisor_connection_kept", hypervisor=self.host)
            _kept.append(self)
            return

        def say_goodbye() -> None:
            with contextlib.suppress(libvirt.libvirtError):
                self.connection.unregisterCloseCallback()
            for callback in self.callbacks:
                with contextlib.suppress(libvirt.libvirtError):
                    self.connection.domainEventDeregisterAny(callback)
            with contextlib.suppress(libvirt.libvirtError):
                self.connection.close()

        with contextlib.suppress(LateCall):
            CallSlots(f"dispose-{self.host}", 1).call(DISPOSE_TIMEOUT_S, say_goodbye)
        self.program.end()
        self.program.forget()
