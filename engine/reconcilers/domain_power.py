"""Starts, stops, pauses and resumes one domain on its hypervisor.

Every action runs in that hypervisor's lane and checks the lease right before the host is told
anything. A start writes where it happens before the host hears of it, so that a killed engine's
successor asks the right host; the console gets its password and ports before the row says
`started`, so that whoever sees the row can open the viewer. Called by
engine/reconcilers/domain.py.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from db import observed as door
from db import queries
from db.logs import get_logger
from db.rowcheck import PlacementModel, SpecModel
from db.states import Activity, Observed, Reason
from engine.actions import AskShutdown
from engine.decisions import Decision
from engine.domain_xml.builder import (
    DiskFile,
    DomainRequest,
    InterfaceCard,
    build_domain_xml,
)
from engine.errors import Terminal, Transient
from engine.executor import power_lane
from engine.hypervisor.networks import ensure_filter, ensure_isolated
from engine.hypervisor.seen import SeenDomain
from engine.networks import read_network
from engine.reconcilers import Context, Elsewhere, Outcome
from engine.reconcilers.disk_places import all_paths, pool_of
from engine.reconcilers.domain_reading import Reading
from engine.reconcilers.observation import Changes, activity, compose
from engine.reconcilers.template_steps import making_id
from engine.sight import DRAIN, Sight, observed_of
from engine.storage.paths import check_disk_path, derive_mac
from engine.unit import Unit

log = get_logger(__name__)

PASSWORD_LETTERS = string.ascii_letters + string.digits
PASSWORD_LENGTH = 8
"""VNC takes no more."""

ASK_PAUSES_S = (1.5, 3.0, 5.0)
"""A guest may overlook the power button while it boots, so it is asked again after these pauses."""


class Power:
    def __init__(self, context: Context) -> None:
        self._c = context
        self._asked: dict[str, tuple[int, datetime]] = {}

    def ask_again_at(self, domain_id: str) -> datetime | None:
        """Until when a guest that this engine has asked to shut down is left in peace."""
        asked = self._asked.get(domain_id)
        return asked[1] if asked else None

    def forget(self, domain_id: str) -> None:
        self._asked.pop(domain_id, None)

    def start(self, reading: Reading, decision: Decision, hypervisor: str, lane: str) -> Outcome:
        unit = self._unit(hypervisor, lane)
        # Work on the disks either sees where it is placed, or has them first.
        with self._c.disk_locks.hold(reading.id):
            if queries.get_row(self._c.database, "disks", making_id(reading.id)) is not None:
                return Outcome(again_s=0.0)  # a template of it was begun: decide anew
            return self._start_held(reading, decision, unit)

    def _start_held(self, reading: Reading, decision: Decision, unit: Unit) -> Outcome:
        now = self._c.now()
        deadline = now + timedelta(seconds=self._c.settings.create_timeout_s)
        password, token = make_password(), secrets.token_hex(4)
        request = self._describe(reading, unit, password, token)
        xml = build_domain_xml(request)
        self.forget(reading.id)
        self._c.write_domain(
            reading.row,
            compose(
                reading.row,
                Sight(Observed.STOPPED, unit.id),
                Changes(activity=activity(Activity.STARTING, "create", deadline), failure=None),
                now,
            ),
        )
        unit.forget_stop(reading.id)
        self._c.lease.check()
        told_at = time.monotonic()
        seen = unit.connection.create(xml)
        # One line a start, so that anybody can see where its time goes (make bench reads it).
        log.info(
            "desktop_created_on_host",
            domain=reading.id,
            hypervisor=unit.id,
            libvirt_ms=round((time.monotonic() - told_at) * 1000, 1),
        )
        unit.note_started(seen)
        if seen.revision != request.revision:
            # It ran already: started by an engine that was cut off. Its password is not this one.
            unit.connection.set_console_password(reading.id, password)
        ports = self._open_console(reading.id, unit, password, seen)
        self._c.write_domain(
            reading.row,
            compose(
                reading.row,
                Sight(Observed.STARTED, unit.id),
                Changes(
                    finished=decision.wish,
                    **self._running(unit, ports),
                    disks=shown_disks(reading),
                    interfaces=shown_interfaces(reading.row, unit.addresses),
                    media=reading.drives.shown_in(seen),
                    started_at=self._c.now(),
                ),
                self._c.now(),
            ),
        )
        return Outcome()

    def adopt(self, reading: Reading, hypervisor: str | None) -> dict[str, Any]:
        """A domain found running whose console nobody knows: give it one. What to show of it."""
        unit = self._c.units.get(hypervisor)
        seen = unit.last_listed(reading.id) if unit else None
        if unit is None or seen is None:
            return {}
        password = make_password()
        self._c.lease.check()
        unit.connection.set_console_password(reading.id, password)
        ports = self._open_console(reading.id, unit, password, seen)
        started_at = observed_of(reading.row).get("started_at")
        return {**self._running(unit, ports), "started_at": started_at or self._c.now()}

    def ask_shutdown(
        self, reading: Reading, decision: Decision, ask: AskShutdown, lane: str
    ) -> Outcome:
        unit = self._unit(ask.hypervisor, lane)
        now = self._c.now()
        deadline, step = ask.deadline, DRAIN if ask.drain else "ask"
        if deadline is None:
            deadline = now + timedelta(seconds=self._c.settings.shutdown_timeout_s)
            self._c.write_domain(
                reading.row,
                compose(
                    reading.row,
                    decision.sight,
                    Changes(activity=activity(Activity.STOPPING, step, deadline), failure=None),
                    now,
                ),
            )
        self._c.lease.check()
        unit.connection.shutdown(reading.id)
        times = self._asked.get(reading.id, (0, now))[0]
        pause_s = ASK_PAUSES_S[min(times, len(ASK_PAUSES_S) - 1)]
        self._asked[reading.id] = (times + 1, now + timedelta(seconds=pause_s))
        left_s = (deadline - self._c.now()).total_seconds()
        return Outcome(again_s=max(0.05, min(pause_s, left_s)))

    def change_media(
        self, reading: Reading, decision: Decision, hypervisor: str, lane: str
    ) -> None:
        """Put in and take out while it runs; afterwards the guest's own XML says so."""
        unit = self._unit(hypervisor, lane)
        before = unit.last_listed(reading.id)
        if before is None:
            return
        self._require_reach(unit, reading)
        wanted = reading.drives.wanted_in(before)
        self._c.lease.check()
        after = unit.connection.change_media(reading.id, wanted)
        if after is None or not after.is_active:
            return  # it has ended meanwhile: the next look says so
        if after.drives != wanted:
            raise Transient(
                Reason.MEDIA_FAILED,
                "The drives hold something else than they should, although libvirt changed them.",
                step="media",
            )
        unit.note_started(after)
        changes = Changes(media=reading.drives.shown_in(after), failure=None)
        observed = compose(reading.row, decision.sight, changes, self._c.now())
        self._c.write_domain(reading.row, observed)

    def power_off(self, reading: Reading, hypervisor: str, lane: str) -> None:
        unit = self._unit(hypervisor, lane)
        self._c.lease.check()
        unit.connection.destroy(reading.id)

    def suspend(self, reading: Reading, hypervisor: str, lane: str) -> None:
        unit = self._unit(hypervisor, lane)
        self._c.lease.check()
        unit.connection.suspend(reading.id)

    def resume(self, reading: Reading, hypervisor: str, lane: str) -> None:
        unit = self._unit(hypervisor, lane)
        self._c.lease.check()
        unit.connection.resume(reading.id)

    def _unit(self, hypervisor: str, lane: str) -> Unit:
        """The host, once we are in its lane. Raises Elsewhere."""
        unit = self._c.units.get(hypervisor)
        if unit is None:
            raise Transient(
                Reason.HOST_UNREACHABLE, f"The hypervisor {hypervisor!r} was just taken away."
            )
        if lane != power_lane(hypervisor):
            raise Elsewhere(power_lane(hypervisor))
        return unit

    def _describe(self, reading: Reading, unit: Unit, password: str, token: str) -> DomainRequest:
        row = reading.row
        self._require_reach(unit, reading)
        spec = SpecModel.model_validate(row.get("spec") or {})
        pool_id = PlacementModel.model_validate(row.get("placement") or {}).pool
        pool = self._c.watcher.pools.get(pool_id) or {}
        cpu_mode = pool.get("cpu_mode")
        return DomainRequest(
            id=reading.id,
            name=str(row["name"]),
            spec=spec.model_dump(),
            disks=self._disks(reading),
            interfaces=self._cards(reading.id, spec, unit),
            installation=self._c.installation,
            revision=f"{revision_of(row)}.{token}",
            accelerator="kvm" if unit.profile.kvm else "qemu",
            console_password=password,
            cpu_mode=cpu_mode if isinstance(cpu_mode, str) else None,
            media=reading.drives.files,
            graphics_available=tuple(unit.info.get("graphics") or ("vnc",)),
        )

    def _require_reach(self, unit: Unit, reading: Reading) -> None:
        """Media lie on the storage of their own pool: only its hosts are sure to see them."""
        beyond = sorted(reading.drives.pools - unit.row.pools)
        if beyond:
            raise Terminal(
                Reason.MEDIA_FAILED,
                f"A medium in its drives is kept in the pool {beyond[0]!r}, "
                f"whose storage {unit.id!r} does not have.",
                step="media",
            )

    def _disks(self, reading: Reading) -> list[DiskFile]:
        """In the row's order, by the ledger's paths, each proved to be this row's own."""
        pool = self._c.watcher.pools.get(pool_of(reading.row)) or {}
        allowed = all_paths(pool)
        records = {str(record.get("disk")): record for record in reading.made}
        files = []
        for plan in reading.plans:
            record = records.get(plan.id)
            if record is None:
                raise Terminal(
                    Reason.DISK_MISSING,
                    f"The record of the disk {plan.id!r} is gone, so nobody knows where it lies.",
                    step="disks",
                )
            place = check_disk_path(str(record.get("path")), reading.id, allowed)
            files.append(DiskFile(plan.id, place.path, plan.bus))
        return files

    def _cards(self, domain_id: str, spec: SpecModel, unit: Unit) -> list[InterfaceCard]:
        """Its network cards, with what they need on the host made there."""
        cards = []
        for at, interface in enumerate(spec.interfaces):
            row = self._c.watcher.interfaces.get(interface.id)
            network = read_network(row) if row else f"There is no network {interface.id!r}."
            if isinstance(network, str):  # gone since it was placed
                raise Transient(Reason.NO_NETWORK, network, step="network")
            self._c.lease.check()
            unit.connection.ask("network", partial(ensure_filter, name=network.filter))
            if network.is_isolated:
                own = self._c.installation
                make = partial(ensure_isolated, installation=own, name=network.source)
                unit.connection.ask("network", make)
            cards.append(
                InterfaceCard(
                    id=f"{interface.id}-{at}",
                    mac=interface.mac or derive_mac(domain_id, at),
                    kind=network.kind,  # type: ignore[arg-type]  # the builder judges it
                    source=network.source,
                    model=network.model,
                    filter=network.filter,
                    learns=network.learns,
                )
            )
        return cards

    def _open_console(
        self, domain_id: str, unit: Unit, password: str, seen: SeenDomain
    ) -> dict[str, int]:
        ports = {
            kind: port
            for kind, port in (("vnc", seen.vnc_port), ("spice", seen.spice_port))
            if port is not None
        }
        door.put_record(
            self._c.database,
            "consoles",
            {
                "id": domain_id,
                "password": password,
                "hypervisor": unit.id,
                "ports": ports,
                "at": self._c.now(),
            },
            epoch=self._c.lease.epoch,
        )
        return ports

    def _running(self, unit: Unit, ports: Mapping[str, int]) -> dict[str, Any]:
        return {
            "viewer": {"hypervisor": unit.id, "ports": dict(ports)},
            "host_boot": unit.boot or None,
        }


def make_password() -> str:
    return "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(PASSWORD_LENGTH))


def revision_of(row: Mapping[str, Any]) -> str:
    """Which hardware it was started with: changes when the row's spec does."""
    text = json.dumps(row.get("spec"), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def shown_disks(reading: Reading) -> list[dict[str, Any]]:
    """The disks as `observed` shows them, from the ledger."""
    return [
        {
            "id": record.get("disk"),
            "path": record.get("path"),
            "backing": record.get("backing"),
            "size": record.get("size"),
        }
        for record in reading.made
    ]


def shown_interfaces(
    row: Mapping[str, Any], addresses: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """With the hardware addresses that were left out, and while it runs `addresses` by these."""
    spec = SpecModel.model_validate(row.get("spec") or {})
    shown = []
    for at, interface in enumerate(spec.interfaces):
        mac = interface.mac or derive_mac(str(row["id"]), at)
        address = (addresses or {}).get(mac)
        shown.append({"id": interface.id, "mac": mac, **({"address": address} if address else {})})
    return shown
