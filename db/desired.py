"""The door for wishes: writes of `spec`, `desired` and new rows. webapp's door (scripts write the
same with ReQL).

Each write is one conditional update of one document, hard on disk before it returns. `deleted` is
final: no other wish replaces it. Never touches `observed`.
"""

from __future__ import annotations

from typing import Any

from db.connection import Database, r
from db.errors import Conflict, NotFound
from db.states import Desired, HypervisorDesired, MediaDesired, TaskDesired


def wish_fields(state: str, by: str, force: bool) -> dict[str, Any]:
    """A whole `desired` field, of this moment. `by` is `user/<id>` or `schedule/<id>`."""
    now = r.now()
    return {
        "state": state,
        "at": now,
        "by": {"id": by, "at": now},
        "force": now if force else False,
    }


def create_domain(database: Database, row: dict[str, Any], by: str) -> dict[str, Any]:
    """Insert a domain with the wish `stopped`. Raises Conflict where the id exists."""
    document = {
        **row,
        "created_at": r.now(),
        "desired": wish_fields(Desired.STOPPED, by, False),
        "observed": {},
    }
    answer = database.run(
        r.table("domains").insert(document, durability="hard", return_changes="always")
    )
    if answer["errors"]:
        raise Conflict("Exists", "There is already a row with this id.")
    return dict(answer["changes"][0]["new_val"])


def create_domains(database: Database, rows: list[dict[str, Any]], by: str) -> None:
    """Several at once, each with the wish `stopped`. Raises Conflict where an id exists; the others
    are there then.
    """
    documents = [
        {
            **row,
            "created_at": r.now(),
            "desired": wish_fields(Desired.STOPPED, by, False),
            "observed": {},
        }
        for row in rows
    ]
    answer = database.run(r.table("domains").insert(documents, durability="hard"))
    if answer["errors"]:
        raise Conflict("Exists", "There is already a row with one of these ids.")


def wish_domain(
    database: Database, domain_id: str, state: Desired, by: str, *, force: bool = False
) -> dict[str, Any]:
    """Write a wish and return the row after it. Raises NotFound, or Conflict where it is being
    deleted.
    """
    fields = wish_fields(state, by, force)
    return _update_unless_deleted(
        database,
        "domains",
        domain_id,
        {"desired": r.literal(fields), "accessed_at": r.now()},
        repeats=state is Desired.DELETED,
    )


def edit_domain(database: Database, domain_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Merge `changes` (name, description, spec, placement, …) into the row; never `desired` or
    `observed`.
    """
    if {"id", "kind", "desired", "observed"} & set(changes):
        raise ValueError("edit_domain writes neither id, kind, desired nor observed")
    return _update_unless_deleted(database, "domains", domain_id, changes)


def create_media(
    database: Database, row: dict[str, Any], state: MediaDesired, by: str
) -> dict[str, Any]:
    """Insert a medium. One that is still to be uploaded is wished `absent` until it is whole."""
    document = {
        **row,
        "created_at": r.now(),
        "desired": wish_fields(state, by, False),
        "observed": {},
    }
    answer = database.run(
        r.table("media").insert(document, durability="hard", return_changes="always")
    )
    if answer["errors"]:
        raise Conflict("Exists", "There is already a medium with this id.")
    return dict(answer["changes"][0]["new_val"])


def wish_media(database: Database, media_id: str, state: MediaDesired, by: str) -> dict[str, Any]:
    return _update_unless_deleted(
        database,
        "media",
        media_id,
        {"desired": r.literal(wish_fields(state, by, False))},
        # One whose deletion was refused may be wanted again; a begun one is final for the engine.
        repeats=True,
    )


def edit_media(database: Database, media_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    if {"id", "kind", "source", "desired", "observed"} & set(changes):
        raise ValueError("edit_media writes neither id, kind, source, desired nor observed")
    return _update_unless_deleted(database, "media", media_id, changes)


def put_upload(database: Database, record: dict[str, Any]) -> None:
    """The key of a finished upload, for the engine to sign its tickets with."""
    value = {**record, "used": [], "at": r.now()}
    database.run(r.table("uploads").insert(value, conflict="replace", durability="hard"))


def use_ticket(database: Database, media_id: str, nonce: str) -> bool:
    """Note a ticket as used. False where it was used before, or the upload is gone."""
    answer = database.run(
        r.table("uploads")
        .get(media_id)
        .update(
            lambda row: r.branch(
                row["used"].default([]).contains(nonce),
                {},
                {"used": row["used"].default([]).append(nonce)},
            ),
            durability="hard",
        )
    )
    return bool(answer["replaced"])


def put_config(database: Database, row: dict[str, Any]) -> None:
    """Replace a row of table `config` that webapp writes."""
    if row["id"] in ("schema", "installation"):
        raise ValueError(f"{row['id']!r} is not a row of settings")
    database.run(r.table("config").insert(row, conflict="replace", durability="hard"))


def put_profile(database: Database, row: dict[str, Any]) -> None:
    """Make or replace a system profile."""
    database.run(r.table("os_profiles").insert(row, conflict="replace", durability="hard"))


def create_hypervisor(database: Database, row: dict[str, Any], by: str) -> dict[str, Any]:
    document = {
        **row,
        "created_at": r.now(),
        "desired": wish_fields(row.get("desired_state", HypervisorDesired.ENABLED), by, False),
        "observed": {},
    }
    document.pop("desired_state", None)
    answer = database.run(
        r.table("hypervisors").insert(document, durability="hard", return_changes="always")
    )
    if answer["errors"]:
        raise Conflict("Exists", f"There is already a hypervisor {row['id']!r}.")
    return dict(answer["changes"][0]["new_val"])


def wish_hypervisor(
    database: Database,
    hypervisor_id: str,
    state: HypervisorDesired,
    by: str,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Also the way to have the checks run again at once: repeat the wish `enabled`."""
    fields = wish_fields(state, by, force)
    return _update_unless_deleted(
        database,
        "hypervisors",
        hypervisor_id,
        {"desired": r.literal(fields)},
        repeats=state is HypervisorDesired.DELETED,
    )


def wish_measuring(database: Database, hypervisor_id: str, by: str) -> dict[str, Any]:
    """Have the speed of its storage measured."""
    now = r.now()
    wish = {"at": now, "by": {"id": by, "at": now}}
    return _update_unless_deleted(
        database, "hypervisors", hypervisor_id, {"measure": r.literal(wish)}
    )


def edit_hypervisor(
    database: Database, hypervisor_id: str, changes: dict[str, Any]
) -> dict[str, Any]:
    if {"id", "desired", "observed"} & set(changes):
        raise ValueError("edit_hypervisor writes neither id, desired nor observed")
    return _update_unless_deleted(database, "hypervisors", hypervisor_id, changes)


def create_plain(database: Database, table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Insert a row that has no wish (pools, networks). Raises Conflict where the id exists."""
    document = {**row, "created_at": r.now()}
    answer = database.run(
        r.table(table).insert(document, durability="hard", return_changes="always")
    )
    if answer["errors"]:
        raise Conflict("Exists", f"There is already a row {row['id']!r}.")
    return dict(answer["changes"][0]["new_val"])


def edit_plain(
    database: Database, table: str, row_id: str, changes: dict[str, Any]
) -> dict[str, Any]:
    """Replace these fields, each as a whole. Raises NotFound."""
    if {"id", "observed"} & set(changes):
        raise ValueError("edit_plain writes neither id nor observed")
    whole = {key: r.literal(value) for key, value in changes.items()}
    answer = database.run(
        r.table(table).get(row_id).update(whole, durability="hard", return_changes="always")
    )
    if answer["skipped"]:
        raise NotFound(f"There is no row {row_id!r} in {table}.")
    if answer["errors"]:
        raise Conflict("Refused", str(answer["first_error"]))
    return dict(answer["changes"][0]["new_val"])


def remove_plain(database: Database, table: str, row_id: str) -> None:
    database.run(r.table(table).get(row_id).delete(durability="hard"))


def create_task(database: Database, row: dict[str, Any], by: str) -> dict[str, Any]:
    """Insert an order. Raises Conflict where the id exists."""
    document = {
        **row,
        "created_at": r.now(),
        "desired": wish_fields(TaskDesired.DONE, by, False),
        "observed": {},
    }
    answer = database.run(
        r.table("tasks").insert(document, durability="hard", return_changes="always")
    )
    if answer["errors"]:
        raise Conflict("Exists", "There is already a row with this id.")
    return dict(answer["changes"][0]["new_val"])


def cancel_task(database: Database, task_id: str, by: str) -> dict[str, Any]:
    """Take an order back. Raises NotFound."""
    fields = wish_fields(TaskDesired.CANCELLED, by, False)
    answer = database.run(
        r.table("tasks")
        .get(task_id)
        .update({"desired": r.literal(fields)}, durability="hard", return_changes="always")
    )
    if answer["skipped"]:
        raise NotFound("There is no such task (any more).")
    return dict(answer["changes"][0]["new_val"])


def wish_orphan_removed(database: Database, orphan_id: str, by: str) -> dict[str, Any]:
    """The engine looks at everything again, and removes it or says why not."""
    fields = wish_fields("removed", by, False)
    change = {"desired": r.literal(fields)}
    return _update_unless_deleted(database, "orphans", orphan_id, change)


def _update_unless_deleted(
    database: Database, table: str, row_id: str, changes: dict[str, Any], *, repeats: bool = False
) -> dict[str, Any]:
    """`repeats`: the change is the wish `deleted` itself, which may be asked for again."""

    def being_deleted(row: Any) -> Any:
        # A script may have made `desired` anything.
        desired = row["desired"].default(None)
        state = r.branch(desired.type_of().eq("OBJECT"), desired["state"].default(""), "")
        return state.eq(Desired.DELETED.value)

    def change(row: Any) -> Any:
        return changes if repeats else r.branch(being_deleted(row), {}, changes)

    answer = database.run(
        r.table(table)
        .get(row_id)
        .update(
            change,
            durability="hard",
            return_changes="always",
        )
    )
    if answer["skipped"]:
        raise NotFound(f"There is no row {row_id!r} in {table}.")
    if answer["errors"]:
        raise Conflict("Refused", str(answer["first_error"]))
    row = answer["changes"][0]["new_val"]
    desired = row.get("desired")
    if (
        not repeats
        and answer["unchanged"]
        and isinstance(desired, dict)
        and desired.get("state") == Desired.DELETED
    ):
        raise Conflict("BeingDeleted", "It is being deleted: nothing else can be asked of it.")
    return dict(row)
