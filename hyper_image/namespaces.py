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
from pathlib import Path

MACHINE_NETWORK_FD = "ISARD_MACHINE_NETWORK_FD"
CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
MNT_DETACH = 2


def make_root_real() -> None:
    """Give this process's mount namespace, which must be its own, the root that the process has.

    In a chroot they differ, and who enters a mount namespace finds himself at the namespace's root:
    libvirt would furnish the private /dev of its guests outside, so that QEMU finds no /dev/null in
    it and locks no disk. Needs root, one thread, and a mount point at /.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(ours)
        _checked(libc.setns(namespace, CLONE_NEWNS), "enter its own mounts")
        if os.path.samestat(before, Path("/").stat()):
            return
        os.fchdir(ours)
        # The old root comes to lie over the new one, and is taken away again.
        _checked(libc.pivot_root(b".", b"."), "change the root")
        _checked(libc.umount2(b".", MNT_DETACH), "leave the old root")
        os.chroot(".")
    finally:
        os.chdir("/")
        os.close(ours)
        os.close(namespace)


def _checked(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot {what}: {os.strerror(error)}")


def machine_network_fd() -> int | None:
    """The machine's network namespace as handed down, or None where there is only one network."""
    text = os.environ.get(MACHINE_NETWORK_FD)
    return int(text) if text else None


def enter_network(fd: int) -> None:
    """Move the calling thread into the network namespace behind `fd`. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.setns(fd, CLONE_NEWNET), "enter the network namespace")


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
