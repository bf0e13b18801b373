"""Hypervisors, for administrators: list, add, enrol, edit, wish, accept a host key, delete.

Rows are judged with the kernel's own check before they are written, so a form, a script and the API
refuse the same things. Nothing here talks to a host: the engine does, and reports in `observed`.
"""

from __future__ import annotations

from typing import Any

from db import desired, queries
from db.connection import Database, r
from db.errors import Conflict
from db.rowcheck import LimitsModel, check_hypervisor
from db.states import HypervisorDesired
from webapp import hypervisor_payloads
from webapp.auth.permissions import Person, can_administer
from webapp.errors import Problem, not_found
from webapp.extensions import backend, database
from webapp.services import audit, enrolments
from webapp.tidy import as_mapping, tidy_hypervisor

Payload = dict[str, Any]
Row = dict[str, Any]

EDITABLE = frozenset(
    {"hostname", "port", "user", "description", "capabilities", "pools", "viewer", "limits"}
)


def list_hypervisors(user: Person) -> list[Payload]:
    _require_admin(user)
    rows = queries.list_rows(database(), "hypervisors")
    shown = (hypervisor_payloads.hypervisor(row) for row in rows)
    return sorted(shown, key=lambda item: item["id"])


def get_hypervisor(user: Person, hypervisor_id: str) -> Payload:
    return hypervisor_payloads.hypervisor(_find(user, hypervisor_id))


def read_engine_key(user: Person) -> str:
    """The line that lets the engine in on a host, for adding it by hand."""
    _require_admin(user)
    return enrolments.authorized_keys_line(database())


def add_hypervisor(user: Person, fields: dict[str, Any]) -> Payload:
    """`fields`: `id`, `hostname`, and what is known of EDITABLE and `host_key`; with a `password`
    (and `fingerprint`, `trust_new_key`) it is enrolled too. Starts enabled.
    """
    _require_admin(user)
    row = new_row(fields, backend().settings.kernel.viewer_port)
    _judge({**row, "desired": {"state": "enabled"}})
    _refuse_twice(row)
    if fields.get("password"):
        # Before its row is there, so that the engine tries nothing else with it first.
        _give_password(user, row, fields)
    made = desired.create_hypervisor(database(), row, user.actor)
    audit.record(user.actor, "hypervisor.add", f"hypervisor/{row['id']}")
    return hypervisor_payloads.hypervisor(made)


def enrol_hypervisor(user: Person, hypervisor_id: str, fields: dict[str, Any]) -> Payload:
    """Get the engine access again: a host made anew, or one that a script has added. Without a
    password it works where the engine's key is let in already, and only prepares viewers.
    """
    row = _find(user, hypervisor_id)
    problem = check_hypervisor(row)
    if problem:
        raise Problem(409, "InvalidRow", problem.message)
    _give_password(user, row, fields)
    return hypervisor_payloads.hypervisor(row)


def edit_hypervisor(user: Person, hypervisor_id: str, changes: dict[str, Any]) -> Payload:
    row = _find(user, hypervisor_id)
    if set(changes) - EDITABLE:
        raise ValueError(f"not editable: {sorted(set(changes) - EDITABLE)}")
    if "limits" in changes:
        changes = {**changes, "limits": merge_limits(row.get("limits"), changes["limits"])}
    _judge({**row, **changes})
    if "limits" in changes:
        changes["limits"] = r.literal(changes["limits"])
    after = desired.edit_hypervisor(database(), row["id"], changes) if changes else row
    audit.record(user.actor, "hypervisor.edit", f"hypervisor/{row['id']}", fields=sorted(changes))
    return hypervisor_payloads.hypervisor(after)


def merge_limits(before: object, changes: dict[str, Any]) -> dict[str, Any]:
    """What is not given stays, null takes a limit away, and what is no limit at all (a script's
    misspelling) goes.
    """
    merged = {**as_mapping(before), **changes}
    return {key: merged[key] for key in LimitsModel.model_fields if merged.get(key) is not None}


def wish(
    user: Person, hypervisor_id: str, state: HypervisorDesired, *, force: bool = False
) -> Payload:
    """Repeating a wish has the checks run again at once. What force may lose goes to the audit."""
    row = _find(user, hypervisor_id)
    lost = {"desktops": _desktops_on(row["id"])} if force else {}
    after = desired.wish_hypervisor(database(), row["id"], state, user.actor, force=force)
    audit.record(user.actor, f"hypervisor.{state.value}", f"hypervisor/{row['id']}", **lost)
    return hypervisor_payloads.hypervisor(after)


def measure(user: Person, hypervisor_id: str) -> Payload:
    """Have the engine measure how fast its storage is: the answer comes in `observed.speeds`."""
    row = _find(user, hypervisor_id)
    after = desired.wish_measuring(database(), row["id"], user.actor)
    audit.record(user.actor, "hypervisor.measure", f"hypervisor/{row['id']}")
    return hypervisor_payloads.hypervisor(after)


def accept_host_key(user: Person, hypervisor_id: str, host_key: str) -> Payload:
    """Trust the key the host offers, and try again at once. `host_key` is what the person saw; a
    host that offers another one by now is refused.
    """
    row = _find(user, hypervisor_id)
    offered = hypervisor_payloads.host_key_offered(tidy_hypervisor(row)["observed"])
    if not offered or offered.strip() != host_key.strip():
        raise Conflict(
            "HostKeyNotOffered", "The host does not offer this key (any more). Look at it again."
        )
    desired.edit_hypervisor(database(), row["id"], {"host_key": offered})
    audit.record(user.actor, "hypervisor.accept_host_key", f"hypervisor/{row['id']}")
    after = desired.wish_hypervisor(database(), row["id"], _wished_state(row), user.actor)
    return hypervisor_payloads.hypervisor(after)


def new_row(fields: dict[str, Any], viewer_port: int) -> Row:
    """A hypervisor's row from what was given, the rest as a single machine has it."""
    given = {key: value for key, value in (fields.get("viewer") or {}).items() if value is not None}
    viewer = {"hostname": None, "port": viewer_port, **given}
    return {
        "id": fields["id"],
        "hostname": fields["hostname"],
        "port": fields.get("port") or 22,
        "user": fields.get("user") or "root",
        "host_key": fields.get("host_key"),
        "description": fields.get("description") or "",
        "capabilities": fields.get("capabilities") or {"hypervisor": True, "disk_operations": True},
        "pools": fields.get("pools") or ["default"],
        "viewer": viewer,
        "limits": {
            key: value for key, value in (fields.get("limits") or {}).items() if value is not None
        },
    }


def find_twin(database: Database, row: Row) -> Row | None:
    """Another hypervisor at the same address and SSH port."""
    found: list[Row] = database.run(
        r.table("hypervisors")
        .filter({"hostname": row["hostname"]})
        .filter(lambda other: other["port"].default(22).eq(row["port"]))
        .filter(lambda other: other["id"].ne(row["id"]))
        .limit(1)
    )
    return found[0] if found else None


def _judge(row: Row) -> None:
    problem = check_hypervisor(row)
    if problem:
        raise Problem(422, "InvalidField", problem.message, field=problem.field)
    unknown = set(row["pools"]) - {
        pool["id"] for pool in queries.get_rows(database(), "hypervisors_pools", row["pools"])
    }
    if unknown:
        text = f"There is no pool {sorted(unknown)[0]!r}."
        raise Problem(422, "NoSuchPool", text, field="pools")
    if not any(row["capabilities"].get(key) for key in ("hypervisor", "disk_operations")):
        text = "It must do at least one of hypervisor and disk_operations."
        raise Problem(422, "InvalidField", text, field="capabilities")


def _give_password(user: Person, row: Row, fields: dict[str, Any]) -> None:
    fingerprint = enrolments.read_fingerprint(fields.get("fingerprint"))
    key = enrolments.require_engine(database(), backend().lease_watch)
    enrolments.give(
        database(),
        backend().settings,
        key,
        row,
        fields.get("password") or "",
        fingerprint=fingerprint,
        trust="first_use" if fields.get("trust_new_key") else "ask",
        by=user.actor,
    )
    audit.record(user.actor, "hypervisor.enrol", f"hypervisor/{row['id']}")


def _refuse_twice(row: Row) -> None:
    """The same name, or the same SSH server under another name."""
    if queries.get_row(database(), "hypervisors", row["id"]) is not None:
        text = f"There is already a hypervisor {row['id']!r}."
        raise Problem(409, "Exists", text, field="id")
    other = find_twin(database(), row)
    if other is not None:
        text = (
            f"This machine is here already, as {other['id']!r}: open that one instead. If it was "
            "added by add-hypervisor.sh, there is nothing more to do."
        )
        raise Problem(409, "SameHost", text, field="hostname")


def _desktops_on(hypervisor_id: str) -> list[str]:
    """Their ids: what a removal by force may lose."""
    on_it = r.table("domains").filter(
        lambda row: queries.field(row, "observed", "hypervisor").eq(hypervisor_id)
    )
    return sorted(str(row["id"]) for row in database().run(on_it.pluck("id")))


def _wished_state(row: Row) -> HypervisorDesired:
    try:
        return HypervisorDesired(tidy_hypervisor(row)["desired"]["state"])
    except ValueError:
        return HypervisorDesired.ENABLED


def _find(user: Person, hypervisor_id: str) -> Row:
    _require_admin(user)
    row = queries.get_row(database(), "hypervisors", hypervisor_id)
    if row is None:
        raise not_found("hypervisor")
    return row


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
