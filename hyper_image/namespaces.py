"""Entering another network namespace, which Python 3.11 cannot do by itself.

A hypervisor host lives in two networks at once: consoles and guests in one of its own, sshd and
the viewer proxy's listening socket in the machine's. The machine's is kept open as a file
descriptor (`MACHINE_NETWORK_FD`, handed down from `local.py`), because its path cannot be reached
once the process numbers are private. In a container there is only one network and the variable is
not set.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

MACHINE_NETWORK_FD = "ISARD_MACHINE_NETWORK_FD"
CLONE_NEWNET = 0x40000000


def machine_network_fd() -> int | None:
    """The machine's network namespace as handed down, or None where there is only one network."""
    text = os.environ.get(MACHINE_NETWORK_FD)
    return int(text) if text else None


def enter_network(fd: int) -> None:
    """Move the calling thread into the network namespace behind `fd`. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot enter the network namespace: {os.strerror(error)}")


@contextmanager
def in_machine_network() -> Iterator[None]:
    """Inside the block the calling thread is in the machine's network; outside, where it was."""
    fd = machine_network_fd()
    if fd is None:
        yield
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_network(fd)
        try:
            yield
        finally:
            enter_network(own)
    finally:
        os.close(own)


def in_machine_network_argv(argv: list[str]) -> list[str]:
    """The same command, run in the machine's network."""
    fd = machine_network_fd()
    return argv if fd is None else ["nsenter", f"--net=/proc/self/fd/{fd}", *argv]


def inherited_fds() -> tuple[int, ...]:
    """The descriptors such a command needs (`pass_fds`)."""
    fd = machine_network_fd()
    return () if fd is None else (fd,)
