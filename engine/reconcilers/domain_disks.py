"""Makes and deletes one domain's disks, and removes its row in the end.

The ledger (table `disks`) is written before a file is made and after, and before it goes, so that
no crash and no script can lead to a new disk in place of one that was there. What is worked on is
held: the row's own disks alone, its template's shared. Everything runs in the disk host's lane.
Called by engine/reconcilers/domain.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from db import observed as door
from db import queries
from db.schema import OF_A_DOMAIN
from db.states import Activity, Reason
from engine.decisions import Decision
from engine.errors import EngineError, Terminal, Transient
from engine.executor import disk_lane
from engine.reconcilers import Context, Elsewhere, Outcome
from engine.reconcilers.disk_places import (
    DiskSite,
    all_paths,
    find_site_of_records,
    paths_of_work,
    prove_storage,
    shown_disks_of,
)
from engine.reconcilers.domain_origins import read_parent, source_of
from engine.reconcilers.domain_reading import Reading, count_children
from engine.reconcilers.domain_templates import Templates
from engine.reconcilers.history import deleted
from engine.reconcilers.observation import Changes, activity, compose
from engine.reconcilers.template_steps import making_id
from engine.sight import Sight, observed_of
from engine.storage.disks import DiskFacts
from engine.storage.paths import DiskPlan, check_disk_path, larger_size, split_disk_path

PROGRESS_S = 1.0
"""How often a long copy shows how far it is."""


class Disks:
    def __init__(self, context: Context, templates: Templates) -> None:
        self._c = context
        self._templates = templates

    def create(
        self, reading: Reading, decision: Decision, disk_ids: tuple[str, ...], lane: str
    ) -> list[dict[str, Any]]:
        """Make what was never made. Answers with the records of what is there now: they are still
        to be written, with what is seen of the domain then.
        """
        site = self._site(reading)
        if source_of(reading.row):
            self._templates.make(reading, decision, site, lane)
            return []
        self._require_lane(site, lane)
        parents = [reading.parent.id] if reading.parent else []
        with self._c.disk_locks.hold(reading.id, parents):
            if reading.parent is not None:
                problem = read_parent(self._c, reading)
                if problem:
                    raise Transient(Reason.PARENT_NOT_READY, problem, step="disks")
            self._c.lease.check()
            prove_storage(self._c, site, make=True)
            plans = {plan.id: (at, plan) for at, plan in enumerate(reading.plans)}
            wanted = [plans[disk_id] for disk_id in disk_ids]
            records = [self._begin(reading, site, at, plan) for at, plan in wanted]
            long = bool(reading.image) or "image" in (reading.row.get("origin") or {})
            limits = self._c.settings
            timeout_s = limits.convert_timeout_s if long else limits.disk_timeout_s
            self._show(reading, decision, Activity.CREATING, "disks", timeout_s, records)
            made = []
            for (at, plan), record in zip(wanted, records, strict=True):
                self._c.lease.check()
                facts = self._make(reading, decision, site, at, plan, str(record["path"]))
                news = {"state": "made", "size": facts.virtual_size, "backing": facts.backing}
                made.append({**record, **news, "at": self._c.now()})
            return made

    def record(self, records: Sequence[dict[str, Any]]) -> None:
        """Write these records of the ledger."""
        door.write_ledger(self._c.database, records, (), epoch=self._c.lease.epoch)

    def delete(self, reading: Reading, decision: Decision, lane: str) -> Outcome:
        """Delete the files, the records and the row. Once the first record says so it is final."""
        site = self._site(reading) if reading.records or shown_disks_of(reading.row) else None
        self._show(reading, decision, Activity.DELETING, "disks", self._c.settings.disk_timeout_s)
        if site is not None:
            self._require_lane(site, lane)
            with self._c.disk_locks.hold(reading.id):
                if queries.get_row(self._c.database, "disks", making_id(reading.id)) is not None:
                    return Outcome(again_s=0.0)  # a template of it was begun: decide anew
                begun = any(record.get("state") == "deleting" for record in reading.records)
                if not begun and any(count_children(self._c, reading)):
                    # Somebody built upon it meanwhile: decide anew.
                    return Outcome(again_s=0.0)
                self._delete_files(reading, site)
        return self.remove_row(reading)

    def remove_row(self, reading: Reading) -> Outcome:
        """The row goes first: what is left of the records then is never mistaken for a domain that
        was never made.
        """
        self._c.lease.check()
        written = door.remove_row(
            self._c.database,
            "domains",
            reading.row["id"],
            epoch=self._c.lease.epoch,
            final=any(record.get("state") == "deleting" for record in reading.records),
        )
        if written == "unchanged":
            return Outcome(again_s=0.0)
        self.sweep(reading.row["id"], reading.records)
        door.append_events(self._c.database, [deleted(reading.row, self._c.now())])
        for record in reading.records:
            if record.get("backing"):
                # What it was built upon may wait for it to go.
                below = split_disk_path(str(record["backing"])).domain_id
                self._c.topics.fire(f"children/{below}")
        return Outcome(gone=True)

    def sweep(self, domain_id: Any, records: Sequence[Mapping[str, Any]]) -> None:
        """What the engine kept of a domain whose row is gone."""
        door.drop_records(
            self._c.database,
            [*(("disks", record["id"]) for record in records)]
            + [(table, domain_id) for table in OF_A_DOMAIN],
        )

    def forget(self, reading: Reading, hypervisor: str) -> Outcome:
        """Its host cannot be asked: leave the files, list what is left, remove the row."""
        paths = [str(record["path"]) for record in reading.records]
        message = (
            f"{reading.row.get('name')!r} was deleted by force while the hypervisor "
            f"{hypervisor!r} could not be asked."
        )
        for path in [None, *paths]:
            self._list_orphan(hypervisor, reading.id, path, message)
        return self.remove_row(reading)

    def diagnose(self, reading: Reading, error: EngineError, hypervisor: str) -> EngineError:
        """A start found a disk missing: that is said only after the storage's marker has proved
        that the right storage is mounted, where disks are worked on and where it was to start.
        Otherwise the storage is what is wrong.
        """
        try:
            site, _ = find_site_of_records(self._c, reading.row, reading.records)
            if site is not None:
                prove_storage(self._c, site, make=False)
                unit = self._c.units.get(hypervisor)
                if unit is not None and unit is not site.unit:
                    prove_storage(self._c, replace(site, unit=unit), make=False)
        except EngineError as cause:
            return cause
        return error

    def drop(self, tables: Sequence[str], domain_id: Any) -> None:
        door.drop_records(self._c.database, [(table, domain_id) for table in tables])

    def _site(self, reading: Reading) -> DiskSite:
        if reading.site is None:
            raise Transient(Reason.NO_DISK_HOST, "No host works on its disks now.", step="disks")
        return reading.site

    def _require_lane(self, site: DiskSite, lane: str) -> None:
        if lane != disk_lane(site.unit.id):
            raise Elsewhere(disk_lane(site.unit.id))

    def _show(
        self,
        reading: Reading,
        decision: Decision,
        name: Activity,
        step: str,
        timeout_s: float,
        records: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Say what begins, with the records that say so. Not said again where it was said already:
        then these are written alone.
        """
        before = observed_of(reading.row).get("activity")
        if isinstance(before, Mapping) and before.get("name") == name:
            deadline = before.get("deadline")
            if isinstance(deadline, datetime) and deadline > self._c.now():
                self.record(records)
                return
        deadline = self._c.now() + timedelta(seconds=timeout_s)
        changes = Changes(activity=activity(name, step, deadline), failure=None)
        self._write(reading, decision.sight, changes, records)

    def _write(
        self,
        reading: Reading,
        sight: Sight,
        changes: Changes,
        records: Sequence[dict[str, Any]] = (),
    ) -> None:
        observed = compose(reading.row, replace(sight, hypervisor=None), changes, self._c.now())
        self._c.write_domain(reading.row, observed, records)
        reading.row["observed"] = {**observed, "epoch": self._c.lease.epoch}

    def _begin(self, reading: Reading, site: DiskSite, at: int, plan: DiskPlan) -> dict[str, Any]:
        """The record that says a file may appear, to be written first. One that was begun keeps its
        place.
        """
        found = next((r for r in reading.records if r.get("disk") == plan.id), None)
        path = site.disk(reading.id, plan.id)
        if found is not None:
            begun = split_disk_path(str(found["path"]))
            path = check_disk_path(begun.path, reading.id, {begun.pool_path, site.path}).path
            if begun.pool_path != site.path:
                # Begun on a path that was chosen otherwise then: what is left there goes first.
                site.unit.disks.delete(begun.path)
                path = site.disk(reading.id, plan.id)
        return {
            "id": f"{reading.id}/{plan.id}",
            "domain": reading.id,
            "disk": plan.id,
            "path": path,
            "pool": site.pool,
            "bus": plan.bus,
            "order": f"{at:03d}",
            "backing": self._backing(reading, at),
            "state": "making",
            "at": self._c.now(),
        }

    def _backing(self, reading: Reading, at: int) -> str | None:
        """The disk of the template that the disk in this place is built upon. On record before the
        file is there, so that the template is never taken for one that nothing is built upon.
        """
        made = reading.parent.made if reading.parent is not None else []
        return str(made[at]["path"]) if at < len(made) else None

    def _make(
        self,
        reading: Reading,
        decision: Decision,
        site: DiskSite,
        at: int,
        plan: DiskPlan,
        path: str,
    ) -> DiskFacts:
        disks = site.unit.disks
        origin = reading.row.get("origin") or {}
        backing = self._backing(reading, at)
        if backing is not None and reading.parent is not None:
            size_gib = larger_size(plan.size_gib, reading.parent.made[at].get("size"))
            return disks.create_overlay(path, backing, size_gib, before=self._c.lease.check)
        image = reading.image or origin.get("image")
        if at == 0 and image:
            pool = self._c.watcher.pools.get(site.pool) or {}
            media = [str(entry["path"]) for entry in (pool.get("paths") or {}).get("media") or []]
            return disks.create_from_image(
                path,
                str(image),
                size_gib=plan.size_gib,
                roots=media,
                on_progress=self._progress(reading, decision),
            )
        if at == 0 and origin.get("desktop"):
            raise Terminal(
                Reason.INVALID_ROW,
                "A desktop is not made from a desktop: make a template of it first.",
                step="origin.desktop",
            )
        if plan.size_gib is None:
            raise Terminal(
                Reason.INVALID_ROW,
                f"The size of the disk {plan.id!r} is not given (size_gib).",
                step="spec.disks",
            )
        return disks.create_empty(path, plan.size_gib)

    def _progress(self, reading: Reading, decision: Decision) -> Callable[[float], None]:
        shown_at = 0.0
        timeout_s = self._c.settings.convert_timeout_s
        deadline = self._c.now() + timedelta(seconds=timeout_s)

        def show(percent: float) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at < PROGRESS_S:
                return
            shown_at = time.monotonic()
            field = activity(Activity.CREATING, "copy", deadline, percent)
            self._write(reading, decision.sight, Changes(activity=field))

        return show

    def _delete_files(self, reading: Reading, site: DiskSite) -> None:
        pool = self._c.watcher.pools.get(site.pool) or {}
        allowed = all_paths(pool)
        paths = {str(record["path"]) for record in reading.records}
        paths |= {path for record in reading.records for path in paths_of_work(record)}
        paths |= set(shown_disks_of(reading.row).values())
        places = [check_disk_path(path, reading.id, allowed) for path in sorted(paths)]
        self._c.lease.check()
        for pool_path in {place.pool_path for place in places}:
            prove_storage(self._c, replace(site, path=pool_path), make=False)
        now = self._c.now()
        reading.records = [{**r, "state": "deleting", "at": now} for r in reading.records]
        self.record(reading.records)
        for place in places:
            self._c.lease.check()
            site.unit.disks.delete(place.path)

    def _list_orphan(self, hypervisor: str, domain_id: str, path: str | None, message: str) -> None:
        kind = "file" if path else "domain"
        record = {
            "id": path or f"{hypervisor}/{domain_id}",
            "kind": kind,
            "hypervisor": hypervisor,
            "path": path,
            "domain": domain_id,
            "ours": True,
            "message": message,
            "at": self._c.now(),
        }
        door.put_record(self._c.database, "orphans", record, epoch=self._c.lease.epoch)
