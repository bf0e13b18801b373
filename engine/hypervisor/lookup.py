"""What libvirt says of one domain, as values of ours. Runs inside a call of
engine.hypervisor.connection, which has the deadline.
"""

from __future__ import annotations

import contextlib
from typing import Any

import libvirt

from engine.hypervisor import faults
from engine.hypervisor.seen import SeenDomain, read_domain


def find_domain(connection: Any, uuid: str) -> Any | None:
    try:
        return connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if faults.is_no_domain(error):
            return None
        raise


def see_domain(domain: Any) -> SeenDomain | None:
    """None when it went between finding and looking."""
    try:
        state, _reason = domain.state()
        return read_domain(domain.XMLDesc(0), state)
    except libvirt.libvirtError as error:
        if faults.is_no_domain(error):
            return None
        raise


def receive_picture(connection: Any, domain: Any) -> bytes:
    """The picture a domain sends through a stream."""
    stream = connection.newStream(0)
    try:
        domain.screenshot(stream, 0)
        chunks = []
        while chunk := stream.recv(256 * 1024):
            chunks.append(chunk)
        stream.finish()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
    return b"".join(chunks)
