"""Reads that both sides use. Each returns plain rows; a missing row is None, never an exception."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from db.connection import Database, r
from db.keys import fit_key, is_key


def get_row(database: Database, table: str, row_id: Any) -> dict[str, Any] | None:
    row: dict[str, Any] | None = None
    if is_key(row_id):
        row = database.run(r.table(table).get(row_id))
    return row


def get_rows(database: Database, table: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    wanted = [row_id for row_id in ids if is_key(row_id)]
    return database.run(r.table(table).get_all(*wanted)) if wanted else []


def list_rows(database: Database, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.run(r.table(table))
    return rows


def list_by_index(database: Database, table: str, index: str, value: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.run(r.table(table).get_all(value, index=index))
    return rows


def list_children(database: Database, domain_id: str) -> list[dict[str, Any]]:
    """Domains built upon this one, whole rows: see list_children_of."""
    return list_children_of(database, [domain_id]).get(domain_id, [])


def list_descendants(database: Database, domain_id: str) -> list[dict[str, Any]]:
    """Domains whose disks are read through this one's: its children, and all built upon them."""
    found: dict[str, dict[str, Any]] = {}
    parents = [domain_id]
    while parents:
        below = list_children_of(database, parents)
        rows = {str(row["id"]): row for children in below.values() for row in children}
        parents = [key for key in rows if key not in found and key != domain_id]
        found |= {key: rows[key] for key in parents}
    return list(found.values())


def list_children_of(database: Database, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """By each of these domains those built upon it: whose disks have its disks as backing files,
    as the ledger says, or who name it as their template and whose disks say nothing else.
    """
    parents = list(ids)
    if not parents:
        return {}
    built = r.table("disks").get_all(*parents, index="parent").pluck("domain", "backing")
    naming = r.table("domains").get_all(*parents, index="template")
    found = database.run(
        r.expr({"built": built.coerce_to("array"), "naming": naming.coerce_to("array")})
    )
    rows = {row["id"]: row for row in found["naming"]}
    upon: dict[str, set[Any]] = {}
    for record in found["built"]:
        upon.setdefault(_base_of(record), set()).add(record["domain"])
    backed = set().union(*upon.values())
    elsewhere = _not_in_need(database, [key for key in rows if key not in backed])
    for key, row in rows.items():
        if key not in backed and key not in elsewhere:
            upon.setdefault(row["origin"]["template"], set()).add(key)
    rows |= {row["id"]: row for row in get_rows(database, "domains", backed - set(rows))}
    return {
        parent: [rows[key] for key in sorted(keys, key=str) if key in rows]
        for parent, keys in upon.items()
    }


def _not_in_need(database: Database, ids: list[Any]) -> set[Any]:
    """Those whose disks say that they do not need the template they name: they have other backing
    files (a template was made of each meanwhile), or all were made and none has any (flattened).
    """
    if not ids:
        return set()
    records: dict[Any, list[dict[str, Any]]] = {}
    for record in database.run(r.table("disks").get_all(*ids, index="domain")):
        records.setdefault(record["domain"], []).append(record)
    return {
        domain
        for domain, found in records.items()
        if any(record.get("backing") for record in found)
        or all(record.get("state") == "made" for record in found)
    }


def _base_of(record: dict[str, Any]) -> str:
    """As the index `parent` of table `disks` has it."""
    return str(record["backing"]).split("/")[-2]


def list_makings(database: Database) -> list[dict[str, Any]]:
    """The records of templates being made from desktops."""
    records: list[dict[str, Any]] = database.run(
        r.table("disks").between(r.minval, r.maxval, index="template")
    )
    return records


def list_without_domain(database: Database, table: str, key: str) -> list[dict[str, Any]]:
    """Rows whose `key` names a domain that is not there, as {id, state, path, domain}."""

    def has_none(row: Any) -> Any:
        return r.and_(row[key].type_of().eq("STRING"), r.table("domains").get(row[key]).eq(None))

    query = r.table(table).filter(has_none).pluck("id", "state", "path", "domain")
    rows: list[dict[str, Any]] = database.run(query)
    return rows


def count_disks_by_path(database: Database, pool: str) -> dict[str, int]:
    """Path of the pool -> how many disks and media of the ledger lie there."""
    disks = r.table("disks").filter({"pool": pool}).has_fields("path")
    # The record of a medium names its folder, and beside it the path of the pool.
    found = database.run(
        disks.group(
            lambda disk: disk["pool_path"].default(
                disk["path"].match("^(.*)/[^/]+/[^/]+$")["groups"][0]["str"]
            )
        ).count()
    )
    return {str(path): int(count) for path, count in found.items() if path}


def read_engine(database: Database) -> dict[str, Any]:
    """{"lease": row or None, "ticks": row or None}: who is active and how its loops do."""
    rows = {row["id"]: row for row in get_rows(database, "engine", ["lease", "ticks"])}
    return {"lease": rows.get("lease"), "ticks": rows.get("ticks")}


def read_domain(database: Database, domain_id: Any) -> dict[str, Any]:
    """{"row": the domain or None, "disks": its records in the ledger, "last_host": where it was
    started last, "making": the record of the template being made of it, or None, "templating": of
    itself being made from a desktop}: all that is known of it, in one round trip.
    """
    if not is_key(domain_id):
        return {"row": None, "disks": [], "last_host": None, "making": None, "templating": None}
    templating = r.table("disks").get_all(domain_id, index="template")
    answer: dict[str, Any] = database.run(
        r.expr(
            {
                "row": r.table("domains").get(domain_id),
                "disks": r.table("disks").get_all(domain_id, index="domain").coerce_to("array"),
                "last_host": r.table("consoles").get(domain_id)["hypervisor"].default(None),
                "making": r.table("disks").get(fit_key(f"making/{domain_id}")),
                "templating": templating.nth(0).default(None),
            }
        )
    )
    return answer


def field(row: Any, outer: str, key: str) -> Any:
    """In a filter: `row[outer][key]`, null where that is not there or a script has put something
    else in its place.
    """
    return get_key(row[outer].default(None), key)


def get_key(value: Any, key: str) -> Any:
    """The same of something that should be a mapping: a bracket on a text or a number would end
    the whole query, `default` or not.
    """
    return r.branch(value.type_of().eq("OBJECT"), value[key].default(None), None)


def list_media_users(database: Database, media_id: str) -> list[dict[str, Any]]:
    """Of each domain that has this medium in a drive, or is installed from it {id, name, desired}.

    A row without `spec.media` has the medium it was made from in its drive.
    """

    def uses(row: Any) -> Any:
        drives = field(row, "spec", "media")
        return r.branch(
            drives.type_of().eq("ARRAY"),
            drives.contains(lambda drive: get_key(drive, "id").eq(media_id)),
            field(row, "origin", "media").eq(media_id),
        )

    query = r.table("domains").filter(uses)
    return database.run(query.pluck("id", "name", "desired").coerce_to("array"))


def read_media(database: Database, media_id: Any) -> dict[str, Any]:
    """{"row": the medium or None, "record": its line in the ledger or None}"""
    if not is_key(media_id):
        return {"row": None, "record": None}
    answer: dict[str, Any] = database.run(
        r.expr(
            {
                "row": r.table("media").get(media_id),
                "record": r.table("disks").get(media_record_id(media_id)),
            }
        )
    )
    return answer


def media_record_id(media_id: Any) -> str:
    """Its key in the ledger (table `disks`)."""
    return fit_key(f"media/{media_id}")


def list_without_medium(database: Database) -> list[dict[str, Any]]:
    """Lines of the ledger that speak of a medium whose row is not there."""

    def has_none(row: Any) -> Any:
        media_id = row["media"]
        return r.and_(media_id.type_of().eq("STRING"), r.table("media").get(media_id).eq(None))

    rows: list[dict[str, Any]] = database.run(r.table("disks").filter(has_none))
    return rows
