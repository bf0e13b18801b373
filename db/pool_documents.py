"""The rows of what hypervisors offer to desktops: pools with their storage (`hypervisors_pools`),
and networks (`interfaces`). Those of the hypervisors themselves are in db/hypervisor_documents.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict


class PoolPath(TypedDict, total=False):
    path: str
    disk_operations: list[str]
    """The hosts that own it. None named: any host of the pool that works on disks."""
    weight: int


class ObservedPoolHost(TypedDict, total=False):
    id: str
    owner: bool
    """It works on the disks there; others only run desktops from them."""
    ok: bool
    message: str


class ObservedPoolPath(TypedDict, total=False):
    use: str
    path: str
    state: str
    """ok | degraded (some host does not have it) | failed (no host can work there)"""
    hosts: list[ObservedPoolHost]
    same_storage: bool | None
    """Its mark is the recorded one on every host that was looked at. None: it has no mark yet."""
    free_bytes: int | None
    size_bytes: int | None
    disks: int
    """In the ledger."""
    message: str
    remedy: str


class ObservedPool(TypedDict, total=False):
    state: str
    """ok | degraded | failed"""
    reason: str | None
    message: str | None
    paths: list[ObservedPoolPath]
    removed: list[dict[str, Any]]
    """{path, disks}: no longer listed, but disks lie there."""
    waiting: int
    epoch: int
    at: datetime


class Pool(TypedDict, total=False):
    """Table `hypervisors_pools`."""

    id: str
    name: str
    description: str
    paths: dict[str, list[PoolPath]]
    """bases, templates, groups, media -> paths"""
    balancer: str
    cpu_mode: str
    viewer: dict[str, Any]
    interfaces: list[str]
    allowed: dict[str, Any]
    """Whose desktops, templates and media may be in it, see domain_documents.Domain.allowed; left
    out: everybody's.
    """
    observed: ObservedPool


class Network(TypedDict, total=False):
    """Table `interfaces`: what a desktop's network card can be connected to."""

    id: str
    name: str
    description: str
    kind: str
    """network (one of libvirt's on the host) | bridge (of the host) | isolated (guests of one host
    among themselves)
    """
    network: str
    bridge: str
    model: str
    """virtio | e1000"""
    addresses: str
    """Which addresses a guest may use: dhcp (what it was lent) | first (the first it uses) | any.
    Its hardware address is always its own.
    """
    allowed: dict[str, Any]
    """Whose desktops may use it, see domain_documents.Domain.allowed."""
