"""Cleans up one orphan an administrator wants gone, after looking at everything again.

What the list said may be minutes old and the row may be a script's, so nothing of it is believed:
that no row has the domain's id, that the host's domain or the storage's marker carries this
installation's id, that no disk is built upon the file and no guest has it open are all asked anew,
right before the one command that cannot be taken back. What is another installation's is never
touched. A refusal is written into the row and waits for another wish. Called by the controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import observed as door
from db import queries
from db.logs import get_logger
from db.rowcheck import is_uuid
from db.sentences import counted
from db.states import Reason
from engine.disk_locks import Held
from engine.errors import EngineError, HostLost, Terminal, Transient
from engine.executor import disk_lane, power_lane
from engine.reconcilers import Context, Elsewhere, Outcome
from engine.reconcilers.disk_places import DiskSite, prove_storage
from engine.sight import Knowledge, observed_of
from engine.storage.media_paths import EXTENSIONS, MediaPlace, place_media
from engine.storage.paths import DiskPlace, split_disk_path, split_variables_path
from engine.storage.stray import find_users
from engine.workqueue import Key

log = get_logger(__name__)

REMOVED = "removed"
"""The one wish an orphan knows."""
OWNERS = ("domains", "media")
"""Tables whose rows have files under their id."""
AGAIN_S = 5.0


class OrphanReconciler:
    def __init__(self, context: Context) -> None:
        self._c = context

    def reconcile(self, key: Key, lane: str) -> Outcome:
        row = queries.get_row(self._c.database, "orphans", key.id)
        if row is None or not is_wished(row):
            return Outcome(gone=True)
        try:
            self._remove(row, lane)
        except Elsewhere as elsewhere:
            return Outcome(move_to=elsewhere.lane)
        except Held as held:
            return Outcome(again_s=AGAIN_S, topics=(held.topic,), mark=self._c.topics.mark())
        except HostLost:
            return Outcome(again_s=AGAIN_S)
        except EngineError as error:
            self._refuse(row, error)
            return Outcome(gone=True)
        log.info("orphan_removed", kind=row.get("kind"), orphan=row["id"])
        door.drop_record(self._c.database, "orphans", row["id"])
        return Outcome(gone=True)

    def _remove(self, row: Mapping[str, Any], lane: str) -> None:
        """Raises EngineError where anything speaks against it."""
        if row.get("kind") == "domain":
            self._remove_domain(row, lane)
        elif row.get("kind") == "file":
            path = str(row.get("path"))
            self._remove_file(split_variables_path(path) or split_disk_path(path), lane)
        elif row.get("kind") == "media":
            pool_path, _, media_id = str(row.get("path")).rpartition("/")
            self._remove_medium(place_media(pool_path, media_id), lane)
        else:
            raise Terminal(Reason.INVALID_ROW, "This is no domain and no file.", step="kind")

    def _remove_domain(self, row: Mapping[str, Any], lane: str) -> None:
        domain_id = str(row.get("domain"))
        if not is_uuid(domain_id):
            raise Terminal(Reason.INVALID_ROW, "This is no domain's id.", step="domain")
        unit = self._c.units.get(str(row.get("hypervisor")))
        if unit is None or unit.knowledge is not Knowledge.LISTED:
            raise Transient(
                Reason.HOST_UNREACHABLE, "Its hypervisor cannot be asked now.", step="look"
            )
        if lane != power_lane(unit.id):
            raise Elsewhere(power_lane(unit.id))
        seen = unit.look(domain_id)
        if seen is None:
            return  # gone meanwhile
        if unit.is_foreign(seen):
            raise Terminal(
                Reason.IN_USE, "Another installation runs it. It was not touched.", step="look"
            )
        self._require_no_row(domain_id)
        self._c.lease.check()
        unit.connection.destroy(domain_id)

    def _remove_file(self, place: DiskPlace, lane: str) -> None:
        site = self._site_of(place.pool_path)
        if lane != disk_lane(site.unit.id):
            raise Elsewhere(disk_lane(site.unit.id))
        with self._c.disk_locks.hold(place.domain_id):
            prove_storage(self._c, site, make=False)
            self._require_unused(place)
            self._require_no_row(place.domain_id)
            self._c.lease.check()
            site.unit.disks.delete(place.path)
        records = queries.list_by_index(self._c.database, "disks", "domain", place.domain_id)
        gone = [("disks", one["id"]) for one in records if one.get("path") == place.path]
        door.drop_records(self._c.database, gone)

    def _remove_medium(self, place: MediaPlace, lane: str) -> None:
        site = self._site_of(place.pool_path)
        if lane != disk_lane(site.unit.id):
            raise Elsewhere(disk_lane(site.unit.id))
        prove_storage(self._c, site, make=False)
        users = queries.list_media_users(self._c.database, place.media_id)
        if users:
            name = users[0].get("name") or users[0]["id"]
            raise Terminal(
                Reason.IN_USE,
                f"{counted(len(users), 'desktop or template has', 'desktops or templates have')} "
                f"it in a drive, such as {name!r}. Take it out there first.",
                step="look",
            )
        files = {place.path(extension) for extension in EXTENSIONS}
        self._require_closed(files)
        self._require_no_row(place.media_id)
        self._c.lease.check()
        site.unit.media.clear(place)
        door.drop_records(self._c.database, [("disks", queries.media_record_id(place.media_id))])

    def _site_of(self, pool_path: str) -> DiskSite:
        """Its path must be a pool's, on a host that works on disks now."""
        for unit in self._c.units.all():
            for pool, path in unit.row.paths:
                if path == pool_path and unit.works_on_disks:
                    return DiskSite(pool, path, unit)
        raise Transient(Reason.NO_DISK_HOST, f"No host works on {pool_path} now.", step="storage")

    def _require_no_row(self, domain_id: str) -> None:
        for table in OWNERS:
            if queries.get_row(self._c.database, table, domain_id) is not None:
                raise Terminal(
                    Reason.IN_USE, f"There is a row of it in {table} (again).", step="look"
                )

    def _require_unused(self, place: DiskPlace) -> None:
        """Nobody's backing file, by the ledger and by the disks themselves; open in no guest."""
        users = [
            str(record["path"])
            for record in queries.list_rows(self._c.database, "disks")
            if record.get("backing") == place.path and record.get("domain") != place.domain_id
        ]
        for unit in self._c.units.all():
            paths = [path for _, path in unit.row.paths]
            if unit.works_on_disks and place.pool_path in paths:
                users += find_users(unit.ssh, place, sorted(set(paths)))
        if users:
            raise Terminal(
                Reason.IN_USE,
                f"{counted(len(set(users)), 'other disk is', 'other disks are')} built upon it, "
                f"such as {users[0]}. Delete what is built upon it first.",
                step="look",
            )
        self._require_closed({place.path}, place.domain_id)

    def _require_closed(self, files: set[str], domain_id: str | None = None) -> None:
        """Open in no domain, nor of this one: what lies beside its disks is not in its list."""
        for unit in self._c.units.all():
            for seen in unit.listed():
                if seen.uuid == domain_id or files & {*seen.disks, *seen.drives}:
                    raise Terminal(
                        Reason.IN_USE,
                        f"A domain on {unit.id} has it open: {seen.uuid}.",
                        step="look",
                    )

    def _refuse(self, row: Mapping[str, Any], error: EngineError) -> None:
        log.info("orphan_not_removed", orphan=row["id"], reason=error.reason, error=error.message)
        wish = row["desired"]
        observed = {
            "reason": error.reason,
            "message": error.message,
            "command": error.command,
            "answer": error.answer,
            "for": {"state": wish.get("state"), "at": wish.get("at")},
            "at": self._c.now(),
        }
        self._c.write("orphans", row, observed)


def is_wished(row: Mapping[str, Any]) -> bool:
    """Somebody wants it gone, and has not been answered yet."""
    wish = row.get("desired")
    if not isinstance(wish, Mapping) or wish.get("state") != REMOVED:
        return False
    answered = observed_of(row).get("for")
    return answered != {"state": REMOVED, "at": wish.get("at")}
