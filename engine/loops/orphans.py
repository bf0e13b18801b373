"""Lists what belongs to no row: domains on hosts, files on storage, records in the ledger.

A row that was removed straight from its table leaves its domain and its disks behind. They are put
into table `orphans` with what is known of them, for an administrator to look at, and nothing here
ever touches them (engine/reconcilers/orphan.py does, where that is wished); what carries another
installation's id is marked as not ours. Only hosts that are connected and storage whose marker is
ours are looked at, and every suspect is looked up in the database itself, because the caches may
lag.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from db import observed as door
from db import queries
from db.errors import DatabaseUnavailable
from db.keys import fit_key
from db.logs import get_logger
from engine.errors import EngineError, HostLost, Terminal
from engine.loops.leftovers import wait
from engine.reconcilers import Context
from engine.reconcilers.disk_places import DiskSite, mark_id, prove_storage
from engine.reconcilers.orphan import OWNERS
from engine.sight import Knowledge
from engine.storage.media_paths import place_media
from engine.storage.paths import VARIABLES
from engine.storage.stray import list_files
from engine.supervisor import Beat
from engine.unit import Unit

log = get_logger(__name__)

FIRST_S = 20.0
EVERY_S = 30.0
LEDGER_S = 300.0
"""Walking the whole ledger is dearer than listing storage, and only tidies up."""


class Orphans:
    def __init__(self, context: Context) -> None:
        self._c = context
        self._backings: dict[str, str | None] = {}
        self._ledger_at = 0.0

    def search(self, beat: Beat) -> None:
        """The loop."""
        pause_s = FIRST_S
        while wait(beat, pause_s):
            pause_s = EVERY_S
            try:
                self.look(beat)
            except DatabaseUnavailable as error:
                log.warning("orphans_not_listed", error=str(error))

    def look(self, beat: Beat) -> None:
        """One round over everything that can be looked at now."""
        found: dict[str, dict[str, Any]] = {}
        looked_at: set[str] = set()
        records = self._records_of_nothing()
        for unit in self._c.units.all():
            beat.beat()
            if unit.knowledge is Knowledge.LISTED:
                looked_at.add(f"domain {unit.id}")
                found |= self._domains_of(unit)
        for site in self._sites():
            beat.beat()
            try:
                found |= self._files_of(site, records)
                looked_at.add(f"file {site.path}")
            except EngineError as error:
                log.info("storage_not_listed", path=site.path, error=error.message)
        self._publish(found, looked_at)
        self._backings = {path: one for path, one in self._backings.items() if path in found}

    def _domains_of(self, unit: Unit) -> dict[str, dict[str, Any]]:
        seen = {one.uuid: one for one in unit.listed()}
        unknown = self._without_row(seen)
        orphans = {}
        for domain_id in unknown:
            one = seen[domain_id]
            ours = not unit.is_foreign(one)
            orphans[f"{unit.id}/{domain_id}"] = {
                "kind": "domain",
                "hypervisor": unit.id,
                "path": None,
                "domain": domain_id,
                "name": one.name,
                "macs": list(one.macs),
                "disks": list(one.disks),
                "ours": ours,
                "message": "It runs, but there is no desktop of this id."
                if ours
                else "It runs, and was not started by this installation.",
            }
        return orphans

    def _sites(self) -> Iterable[DiskSite]:
        """Every storage path once, with a host that works on it."""
        sites: dict[str, DiskSite] = {}
        for unit in self._c.units.all():
            if unit.works_on_disks:
                for pool, path in unit.row.paths:
                    sites.setdefault(path, DiskSite(pool, path, unit))
        return sites.values()

    def _files_of(
        self, site: DiskSite, records: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        mark = queries.get_row(self._c.database, "storage_marks", mark_id(site.pool, site.path))
        if mark is None:
            return {}
        prove_storage(self._c, site, make=False)
        media = self._media_of(site)
        files = {
            one.path: one
            for one in list_files(site.unit.ssh, site.path)
            if one.path.rsplit("/", 1)[0] not in media
        }
        unknown = self._without_row({one.domain_id for one in files.values()})
        self._drop_records_of_nothing(site, records, set(files))
        return media | {
            path: {
                "kind": "file",
                "hypervisor": site.unit.id,
                "path": path,
                "domain": one.domain_id,
                "size": one.size,
                "modified_at": one.modified_at,
                "backing": self._backing_of(site, path),
                "ours": True,
                "message": f"{_what(path)} of a desktop or template that is not there any more.",
            }
            for path, one in files.items()
            if one.domain_id in unknown
        }

    def _media_of(self, site: DiskSite) -> dict[str, dict[str, Any]]:
        """Folders of media whose row was removed straight from its table; by the ledger."""
        orphans, gone = {}, []
        for record in queries.list_without_medium(self._c.database):
            if record.get("pool_path") != site.path:
                continue
            try:
                place = place_media(site.path, str(record["media"]))
            except Terminal:
                continue  # no medium's id: nothing of ours can be there
            size = site.unit.media.weigh(place)
            if size is None:
                gone.append(("disks", record["id"]))
                continue
            orphans[place.folder] = {
                "kind": "media",
                "hypervisor": site.unit.id,
                "path": place.folder,
                "domain": place.media_id,
                "size": size,
                "ours": True,
                "message": "The file of a medium that is not there any more.",
            }
        self._c.lease.check()
        door.drop_records(self._c.database, gone)
        return orphans

    def _backing_of(self, site: DiskSite, path: str) -> str | None:
        """Asked once for each file; a file that cannot be read has none to tell."""
        if path not in self._backings:
            try:
                facts = site.unit.disks.look(path)
            except HostLost:
                raise
            except EngineError:
                facts = None
            self._backings[path] = facts.backing if facts else None
        return self._backings[path]

    def _records_of_nothing(self) -> list[dict[str, Any]]:
        """Of domains without row: now and then, and none in between."""
        if time.monotonic() < self._ledger_at:
            return []
        self._ledger_at = time.monotonic() + LEDGER_S
        return queries.list_without_domain(self._c.database, "disks", "domain")

    def _drop_records_of_nothing(
        self, site: DiskSite, records: Sequence[Mapping[str, Any]], paths: set[str]
    ) -> None:
        """Those whose file is not on this storage either."""
        left = [
            ("disks", record["id"])
            for record in records
            if str(record.get("path")).rsplit("/", 2)[0] == site.path
            and record["path"] not in paths
        ]
        if not left:
            return
        self._c.lease.check()
        door.drop_records(self._c.database, left)

    def _without_row(self, ids: Iterable[str]) -> set[str]:
        suspects = {one for one in ids if self._c.watcher.domains.get(one) is None}
        # The file of a medium that is a disk image has the shape of a domain's disk.
        there = {
            row["id"]
            for table in OWNERS
            for row in queries.get_rows(self._c.database, table, suspects)
        }
        return suspects - there

    def _publish(self, found: Mapping[str, Mapping[str, Any]], looked_at: set[str]) -> None:
        """Add what is new, note what changed, and take off what was looked for and is gone."""
        found = {fit_key(key): orphan for key, orphan in found.items()}
        listed = {
            row["id"]: row
            for row in queries.list_rows(self._c.database, "orphans")
            if isinstance(row["id"], str)  # a script may have made rows of other ids
        }
        now = self._c.now()
        new = [
            {**orphan, "id": key, "at": now}
            for key, orphan in found.items()
            if any(listed.get(key, {}).get(name, ...) != value for name, value in orphan.items())
        ]
        gone = [
            ("orphans", key)
            for key, row in listed.items()
            if key not in found and _place_of(row) in looked_at
        ]
        self._c.lease.check()
        door.note_orphans(self._c.database, new, epoch=self._c.lease.epoch)
        door.drop_records(self._c.database, gone)
        if new or gone:
            log.info("orphans", new=len(new), gone=len(gone), listed=len(found))


def _what(path: str) -> str:
    return "UEFI's variables" if path.endswith(f"/{VARIABLES}") else "A disk"


def _place_of(row: Mapping[str, Any]) -> str:
    """What has to be looked at to know whether this orphan is still there."""
    if row.get("kind") == "domain":
        return f"domain {row.get('hypervisor')}"
    if row.get("kind") == "media":
        return f"file {str(row.get('path')).rsplit('/', 1)[0]}"
    return f"file {str(row.get('path')).rsplit('/', 2)[0]}"
