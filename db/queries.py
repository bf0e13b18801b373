"""Reads that both sides use. Each returns plain rows; a missing row is None, never an exception."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from db.connection import Database, r


def get_row(database: Database, table: str, row_id: Any) -> dict[str, Any] | None:
    row: dict[str, Any] | None = database.run(r.table(table).get(row_id))
    return row


def get_rows(database: Database, table: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    wanted = list(ids)
    return database.run(r.table(table).get_all(*wanted)) if wanted else []


def list_rows(database: Database, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.run(r.table(table))
    return rows


def list_by_index(database: Database, table: str, index: str, value: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.run(r.table(table).get_all(value, index=index))
    return rows


def list_children(database: Database, template_id: str) -> list[dict[str, Any]]:
    """Domains whose disks are backed by this template's."""
    return list_by_index(database, "domains", "template", template_id)


def list_wishes_of_children(database: Database, template_id: str) -> list[dict[str, Any]]:
    """Of each domain built upon this template {id, desired}: enough to count them."""
    query = r.table("domains").get_all(template_id, index="template")
    wishes: list[dict[str, Any]] = database.run(query.pluck("id", "desired"))
    return wishes


def list_without_domain(database: Database, table: str, key: str) -> list[dict[str, Any]]:
    """Rows whose `key` names a domain that is not there, as {id, state, path, domain}."""

    def has_none(row: Any) -> Any:
        return r.and_(row[key].type_of().eq("STRING"), r.table("domains").get(row[key]).eq(None))

    query = r.table(table).filter(has_none).pluck("id", "state", "path", "domain")
    rows: list[dict[str, Any]] = database.run(query)
    return rows


def count_disks_by_path(database: Database, pool: str) -> dict[str, int]:
    """Path of the pool -> how many disks of the ledger lie there."""
    disks = r.table("disks").filter({"pool": pool}).has_fields("path")
    folder = lambda disk: disk["path"].match("^(.*)/[^/]+/[^/]+$")["groups"][0]["str"]  # noqa: E731
    found = database.run(disks.group(folder).count())
    return {str(path): int(count) for path, count in found.items() if path}


def read_engine(database: Database) -> dict[str, Any]:
    """{"lease": row or None, "ticks": row or None}: who is active and how its loops do."""
    rows = {row["id"]: row for row in get_rows(database, "engine", ["lease", "ticks"])}
    return {"lease": rows.get("lease"), "ticks": rows.get("ticks")}


def read_domain(database: Database, domain_id: Any) -> dict[str, Any]:
    """{"row": the domain or None, "disks": its records in the ledger, "last_host": where it was
    started last}: all that is known of it, in one round trip.
    """
    answer: dict[str, Any] = database.run(
        r.expr(
            {
                "row": r.table("domains").get(domain_id),
                "disks": r.table("disks").get_all(domain_id, index="domain").coerce_to("array"),
                "last_host": r.table("consoles").get(domain_id)["hypervisor"].default(None),
            }
        )
    )
    return answer


def list_media_users(database: Database, media_id: str) -> list[dict[str, Any]]:
    """Of each domain that has this medium in a drive, or is installed from it {id, name, desired}.

    A row without `spec.media` has the medium it was made from in its drive.
    """

    def uses(row: Any) -> Any:
        drives = row["spec"]["media"].default(None)
        inserted = drives.contains(lambda drive: drive["id"].default(None).eq(media_id))
        return r.branch(
            drives.type_of().eq("ARRAY"),
            inserted,
            row["origin"]["media"].default(None).eq(media_id),
        ).default(False)

    query = r.table("domains").filter(uses)
    return database.run(query.pluck("id", "name", "desired").coerce_to("array"))


def read_media(database: Database, media_id: Any) -> dict[str, Any]:
    """{"row": the medium or None, "record": its line in the ledger or None}"""
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
    return f"media/{media_id}"
