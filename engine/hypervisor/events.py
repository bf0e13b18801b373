"""libvirt's event loop, one thread for the whole process, and its events in our words.

libvirt calls back on that thread, so a callback only translates and hands on; whoever takes it puts
a key on a queue and returns. The loop must run before the first connection is opened: keepalive
depends on it too. A timer ticks every second so that the supervisor sees the loop live. Called by
engine.hypervisor.connection; the supervisor reads the tick.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import libvirt

from db.logs import get_logger

log = get_logger(__name__)

TICK_MS = 1000


@dataclass(frozen=True)
class DomainEvent:
    """`kind`: defined, undefined, started, suspended, resumed, stopped, shutdown (on its way),
    pmsuspended, crashed, viewer_connected, viewer_disconnected. `detail` is libvirt's why, in one
    word; of a stop: shutdown (by the guest), destroyed, crashed, migrated, saved, failed,
    from_snapshot. `reason` is more of it where there is any (a viewer's address)."""

    hypervisor: str
    uuid: str
    kind: str
    detail: str
    reason: str = ""


KINDS: dict[int, tuple[str, tuple[str, ...]]] = {
    0: ("defined", ("added", "updated", "renamed", "from_snapshot")),
    1: ("undefined", ("removed", "renamed")),
    2: ("started", ("booted", "migrated", "restored", "from_snapshot", "wakeup", "recovered")),
    3: (
        "suspended",
        (
            "paused",
            "migrated",
            "ioerror",
            "watchdog",
            "restored",
            "from_snapshot",
            "api_error",
            "postcopy",
            "postcopy_failed",
        ),
    ),
    4: ("resumed", ("unpaused", "migrated", "from_snapshot", "postcopy", "postcopy_failed")),
    5: (
        "stopped",
        (
            "shutdown",
            "destroyed",
            "crashed",
            "migrated",
            "saved",
            "failed",
            "from_snapshot",
            "recreated",
        ),
    ),
    6: ("shutdown", ("finished", "guest", "host")),
    7: ("pmsuspended", ("memory", "disk")),
    8: ("crashed", ("panicked", "crashloaded")),
}
"""libvirt's event and detail numbers (VIR_DOMAIN_EVENT_*), in order."""

VIEWER_PHASES = {0: "viewer_connected", 2: "viewer_disconnected"}

_started = threading.Lock()
_running = False
_ticked_at = 0.0


def start_event_loop() -> None:
    """Starts the thread, once for the process."""
    global _running, _ticked_at
    with _started:
        if _running:
            return
        # Errors come as exceptions; libvirt's own copy on stderr would only double them.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        libvirt.virEventAddTimeout(TICK_MS, _tick, None)
        _ticked_at = time.monotonic()
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _running = True


def event_loop_age_s() -> float:
    """Seconds since the loop last turned; large when it was never started or hangs."""
    return time.monotonic() - _ticked_at


def describe_lifecycle(hypervisor: str, uuid: str, event: int, detail: int) -> DomainEvent:
    kind, details = KINDS.get(event, (f"event_{event}", ()))
    word = details[detail] if 0 <= detail < len(details) else f"detail_{detail}"
    return DomainEvent(hypervisor, uuid, kind, word)


def describe_viewer(
    hypervisor: str, uuid: str, phase: int, remote: dict[str, Any]
) -> DomainEvent | None:
    """None for the phase between the two that matter."""
    kind = VIEWER_PHASES.get(phase)
    if kind is None:
        return None
    return DomainEvent(hypervisor, uuid, kind, "", str(remote.get("node") or ""))


def _tick(_timer: int, _opaque: object) -> None:
    global _ticked_at
    _ticked_at = time.monotonic()


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.error("libvirt_event_loop_failed", error=str(error))
            time.sleep(0.1)  # never a spin, whatever it is
