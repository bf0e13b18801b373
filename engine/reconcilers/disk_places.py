"""Which path of the pool a disk lies on, and which host works on it.

A new disk goes to a path of the pool chosen by use and weight among those that some host can work
on now: one of its owners, online, that sees the right storage there, with room on it. A disk that
was made lies where the ledger says, as long as that is inside the pool. The storage's marks (what
marker was found on which path) are kept in table `storage_marks`, so that a storage that is not
mounted is never mistaken for an empty one. Used by the disk reconciler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db import observed as door
from db import queries
from db.keys import fit_key
from db.rowcheck import check_pool, is_plain_path, paths_of
from db.states import Kind
from engine.errors import Terminal
from engine.reconcilers import Context
from engine.storage.paths import USE_OF_KIND, choose_pool_path, place_disk, split_disk_path
from engine.unit import Unit


@dataclass(frozen=True)
class DiskSite:
    """A path of a pool and a host that works on it."""

    pool: str
    path: str
    unit: Unit

    def disk(self, domain_id: str, disk_id: str) -> str:
        return place_disk(self.path, domain_id, disk_id).path


def pool_of(row: Mapping[str, Any]) -> str:
    return str((row.get("placement") or {}).get("pool") or "default")


def find_site(
    context: Context, row: Mapping[str, Any], built_on: Sequence[Mapping[str, Any]] = ()
) -> tuple[DiskSite | None, str | None]:
    """Where new disks of this row go, or why nowhere. `built_on`: records of the disks beneath
    them, which the host must see.
    """
    use = USE_OF_KIND[Kind(str(row["kind"]))]
    return _new_site(context, pool_of(row), use, str(row["id"]), built_on)


def _new_site(
    context: Context,
    pool_id: str,
    use: str,
    key: str,
    built_on: Sequence[Mapping[str, Any]] = (),
) -> tuple[DiskSite | None, str | None]:
    pool = context.watcher.pools.get(pool_id)
    if pool is None:
        return None, f"There is no pool {pool_id!r}."
    hosts = _disk_hosts(context, pool_id)
    if not hosts:
        return None, f"No host that works on disks is online in the pool {pool_id!r}."
    blind = _not_seeing(context, hosts, built_on)
    hosts = {name: unit for name, unit in hosts.items() if name not in blind}
    if not hosts:
        return None, f"No host sees what it is built on: {'; '.join(blind.values())}."
    usable, problems = usable_part(context, pool, hosts, use)
    chosen = choose_pool_path(usable, use, key, set(hosts))
    if chosen is None:
        why = f" {'; '.join(problems)}." if problems else ""
        text = f"The pool {pool_id!r} has no path for {use} that an online host works on."
        return None, text + why
    unit = _host_for(chosen, hosts, key)
    return DiskSite(pool_id, str(chosen["path"]), unit), None


def _not_seeing(
    context: Context, hosts: Mapping[str, Unit], records: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Host -> why it cannot read these disks, of those of which that is known."""
    blind = {}
    for record in records:
        path = split_disk_path(str(record["path"])).pool_path
        mark = context.watcher.marks.get(mark_id(str(record.get("pool")), path))
        recorded = str(mark["path_id"]) if mark else None
        for name, unit in hosts.items():
            facts = unit.storage.get(path)
            why = facts.problem(recorded) if facts else None
            if facts and why is not None and (facts.foreign or facts.path_id != recorded):
                blind[name] = f"{path}: {name} {why}"
    return blind


def usable_part(
    context: Context, pool: Mapping[str, Any], hosts: Mapping[str, Unit], use: str
) -> tuple[dict[str, Any], list[str]]:
    """The pool's paths for a use, each with the hosts that can make a disk there now alone; and why
    others cannot. A path without such a host is left out.
    """
    problem = check_pool({**pool})
    if problem is not None:
        return {}, [f"Its row is wrong: {problem.why}"]
    entries, problems = [], []
    for entry in paths_of(pool, use):
        path = str(entry["path"])
        mark = context.watcher.marks.get(mark_id(str(pool["id"]), path))
        recorded = str(mark["path_id"]) if mark else None
        able = []
        for name in sorted(set(entry.get("disk_operations") or hosts) & set(hosts)):
            facts = hosts[name].storage.get(path)
            why = facts.problem(recorded) if facts else None
            if facts and why is None and facts.is_full:
                why = "has less than 1 GiB free there"
            if why is None:
                able.append(name)
            else:
                problems.append(f"{path}: {name} {why}")
        if able:
            entries.append({**entry, "disk_operations": able})
    return {"paths": {use: entries}}, problems


def mark_id(pool: str, path: str) -> str:
    """Of table `storage_marks`."""
    return fit_key(f"{pool}:{path}")


def path_removed(
    context: Context, row: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> str | None:
    """Why its disks cannot be used although they were made: their path is not the pool's (any
    more).
    """
    pool_id = pool_of(row)
    pool = context.watcher.pools.get(pool_id)
    listed = all_paths(pool)
    for record in records:
        try:
            where = split_disk_path(str(record.get("path"))).pool_path
        except Terminal:
            continue  # told where the path is used
        if pool is not None and where not in listed:
            return (
                f"Its disk lies in {where}, which is no path of the pool {pool_id!r} (any more). "
                "List the path again, or move the disk."
            )
    return None


def find_site_beside(
    context: Context, row: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> tuple[DiskSite | None, str | None]:
    """Where disks of this row go that are made of those of `records`: a host works on both."""
    pool_id = pool_of(row)
    there = {str(record.get("pool")) for record in records}
    if there != {pool_id}:
        return None, f"The template is of pool {pool_id!r}, its desktop of {sorted(there)}."
    paths = {split_disk_path(str(record["path"])).pool_path for record in records}
    hosts, problem = find_hosts_for(context, pool_id, paths)
    if problem is not None:
        return None, problem
    use = USE_OF_KIND[Kind(str(row["kind"]))]
    pool = context.watcher.pools.get(pool_id) or {}
    usable, problems = usable_part(context, pool, hosts, use)
    chosen = choose_pool_path(usable, use, str(row["id"]), set(hosts))
    if chosen is None:
        why = f" {'; '.join(problems)}." if problems else ""
        text = f"No host of the pool {pool_id!r} works on {use} and on the desktop's disks."
        return None, text + why
    return DiskSite(pool_id, str(chosen["path"]), _host_for(chosen, hosts, str(row["id"]))), None


def find_hosts_for(
    context: Context, pool_id: str, paths: Collection[str]
) -> tuple[dict[str, Unit], str | None]:
    """The hosts that work on all of these paths of a pool, or why there is none."""
    pool = context.watcher.pools.get(pool_id)
    if pool is None:
        return {}, f"There is no pool {pool_id!r}."
    hosts = _disk_hosts(context, pool_id)
    able = set(hosts)
    for path in paths:
        entry = next((one for one in pool_paths(pool) if one.get("path") == path), None)
        if entry is None:
            return {}, f"The pool {pool_id!r} no longer has the path {path}."
        able &= set(entry.get("disk_operations") or hosts)
    if not able:
        return {}, f"No host that works on {' and '.join(sorted(paths))} is online."
    return {name: hosts[name] for name in able}, None


def find_site_of_records(
    context: Context, row: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> tuple[DiskSite | None, str | None]:
    """Where the disks lie that were made, or why nobody can work on them now. Several paths of one
    row are worked on from one host.
    """
    paths = [str(record["path"]) for record in records] or sorted(shown_disks_of(row).values())
    if not paths:
        return None, None
    pool_id = next((str(r["pool"]) for r in records if r.get("pool")), pool_of(row))
    return _site_at(context, pool_id, split_disk_path(paths[0]).pool_path, str(row["id"]))


def _site_at(
    context: Context, pool_id: str, where: str, key: str
) -> tuple[DiskSite | None, str | None]:
    """A host that works on what lies in a path of the pool."""
    pool = context.watcher.pools.get(pool_id)
    if pool is None:
        return None, f"There is no pool {pool_id!r}."
    hosts = _disk_hosts(context, pool_id)
    entry = next((one for one in pool_paths(pool) if one.get("path") == where), None)
    if entry is None:
        return None, f"The pool {pool_id!r} no longer has the path {where}."
    able = set(entry.get("disk_operations") or hosts) & set(hosts)
    if not able:
        return None, f"No host that works on the files in {where} is online."
    mark = context.watcher.marks.get(mark_id(pool_id, where))
    recorded = str(mark["path_id"]) if mark else None
    seeing = {
        name
        for name in able
        if not ((facts := hosts[name].storage.get(where)) and facts.problem(recorded))
    }
    # Where nobody sees the storage one of them still says why, by its mark.
    entry = {**entry, "disk_operations": sorted(seeing or able)}
    return DiskSite(pool_id, where, _host_for(entry, hosts, key)), None


def find_media_site(
    context: Context, pool_id: str, media_id: str, recorded_path: str | None
) -> tuple[DiskSite | None, str | None]:
    """Where a medium is to lie, or why nowhere. `recorded_path`: the pool's path where the ledger
    says it was begun.
    """
    if recorded_path is not None:
        return _site_at(context, pool_id, recorded_path, media_id)
    return _new_site(context, pool_id, "media", media_id)


def find_work_site(
    context: Context,
    row: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    also: Iterable[str] = (),
) -> tuple[DiskSite | None, str | None]:
    """A host that works on every path where these disks lie and on the pool's paths `also`, or why
    there is none now. The site is that of the first disk.
    """
    if not records:
        return None, "It has no disks."
    pool_id = next((str(r["pool"]) for r in records if r.get("pool")), pool_of(row))
    paths = [split_disk_path(str(record["path"])).pool_path for record in records]
    return find_path_site(context, pool_id, [*paths, *also])


def find_path_site(
    context: Context, pool_id: str, paths: Sequence[str]
) -> tuple[DiskSite | None, str | None]:
    """A host that works on all these paths of the pool, or why there is none now. The site is that
    of the first.
    """
    pool = context.watcher.pools.get(pool_id)
    if pool is None:
        return None, f"There is no pool {pool_id!r}."
    hosts = _disk_hosts(context, pool_id)
    able = set(hosts)
    for path in dict.fromkeys(paths):
        entry = next((one for one in pool_paths(pool) if one.get("path") == path), None)
        if entry is None:
            return None, f"The pool {pool_id!r} has no path {path} (any more)."
        able &= set(entry.get("disk_operations") or hosts)
    if not able:
        return None, "No host that works on all of these paths is online."
    return DiskSite(pool_id, paths[0], hosts[min(able)]), None


def paths_of_work(record: Mapping[str, Any]) -> list[str]:
    """Where a move that nobody finished may have left a second file (task_job.py has the marks)."""
    marks = (record.get("moving"), record.get("rebasing"))
    found = [mark.get("to") for mark in marks if isinstance(mark, Mapping)]
    return [path for path in (record.get("moved_from"), *found) if isinstance(path, str)]


def shown_disks_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Disk id -> path as `observed` has them, for a row whose ledger was emptied. Only those that
    can be this row's own: a script may have written anything there.
    """
    observed = row.get("observed")
    disks = observed.get("disks") if isinstance(observed, Mapping) else None
    found: dict[str, str] = {}
    for disk in disks if isinstance(disks, list) else ():
        try:
            place = split_disk_path(str(disk["path"]))
        except (Terminal, KeyError, TypeError):
            continue
        if place.domain_id == row.get("id"):
            found[place.disk_id] = place.path
    return found


def pool_paths(pool: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return paths_of(pool)


def all_paths(pool: Mapping[str, Any] | None) -> set[str]:
    """Those that can be paths at all, whatever else is wrong with the row."""
    return {str(entry["path"]) for entry in pool_paths(pool) if is_plain_path(entry["path"])}


def prove_storage(context: Context, site: DiskSite, *, make: bool) -> None:
    """The right storage is mounted, or WrongStorage. `make`: mark a path never used before."""
    mark = mark_id(site.pool, site.path)
    if make and site.unit.has_proved(site.path) and context.watcher.marks.get(mark):
        return
    row = queries.get_row(context.database, "storage_marks", mark)
    recorded = str(row["path_id"]) if row else None
    if not make:
        site.unit.disks.check_marker(site.path, site.pool, recorded)
        return
    found = site.unit.disks.ensure_marker(site.path, site.pool, recorded)
    if recorded is None:
        _record_mark(context, site, found)
    site.unit.note_proved(site.path)


def mark_storage(context: Context, site: DiskSite) -> None:
    """Mark a path never used before, if its folder is there already."""
    mark = mark_id(site.pool, site.path)
    if queries.get_row(context.database, "storage_marks", mark) is None:
        _record_mark(context, site, site.unit.disks.mark_folder(site.path, site.pool))


def _record_mark(context: Context, site: DiskSite, path_id: str) -> None:
    record = {
        "id": mark_id(site.pool, site.path),
        "pool": site.pool,
        "path": site.path,
        "path_id": path_id,
        "at": context.now(),
    }
    context.lease.check()
    door.put_record(context.database, "storage_marks", record, epoch=context.lease.epoch)


def _disk_hosts(context: Context, pool_id: str) -> dict[str, Unit]:
    return {
        unit.id: unit
        for unit in context.units.all()
        if unit.works_on_disks and pool_id in unit.row.pools
    }


def _host_for(entry: Mapping[str, Any], hosts: Mapping[str, Unit], key: str = "") -> Unit:
    """One of its owners; which, is spread over the keys and stays as long as it is there."""
    able = set(entry.get("disk_operations") or hosts) & set(hosts)
    return hosts[max(able, key=lambda name: hashlib.sha256(f"{key}/{name}".encode()).digest())]
