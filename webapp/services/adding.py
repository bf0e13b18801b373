"""Adding a hypervisor from a terminal, whole: its row, access by a password, the first checks.

What `/add-hypervisor.sh` does, over the same services as the page. Where it fails, or is called
off, the row it has made goes again and the password with it. Told step by step through `say`; every
failure is an IsardError with what to do. Called by webapp/hypervisor_cli.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from db import desired, enrolments, queries
from db.connection import Database, r
from db.errors import Conflict, IsardError
from db.rowcheck import check_hypervisor
from db.states import EnrolmentState, HypervisorDesired, HypervisorState
from webapp.services.enrolments import give, require_engine, require_same_address, withdraw
from webapp.services.health import LeaseWatch
from webapp.services.hypervisors import find_twin, new_row
from webapp.settings import WebSettings
from webapp.tidy import Row, as_mapping, as_text, tidy_hypervisor

ACTOR = "setup"
LOOK_S = 0.25
ENROL_S = enrolments.LIFE_S + 15.0
CHECKS_S = 90.0
REMOVE_S = 15.0
UNFINISHED = (EnrolmentState.WORKING, EnrolmentState.WAITING)

Say = Callable[[str], None]

TRUSTED = {
    "accepted": "It is the key that was accepted before.",
    "fingerprint": "It is the key you named.",
    "first_use": "Nobody had accepted it before, so it is trusted from now on. Compare it with the "
    "host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), or give FINGERPRINT next time.",
}


@dataclass(frozen=True)
class NewHost:
    """What was asked for; empty is what was not given. `capabilities` None: both."""

    hostname: str
    port: int = 22
    user: str = "root"
    id: str = ""
    capabilities: dict[str, bool] | None = None
    pools: list[str] = field(default_factory=list)
    viewer: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    host_key: str | None = None
    fingerprint: str | None = None


def add_host(
    database: Database, settings: WebSettings, host: NewHost, password: str, say: Say
) -> None:
    """Returns when the engine has access and the first checks were made. Raises IsardError."""
    if not password:
        raise IsardError(
            "PASSWORD is missing: give the password of the user on the host, as in "
            "PASSWORD=<its password>. It is used once and kept nowhere."
        )
    row, is_new = _find_or_make_row(database, settings, host)
    key = require_engine(database, LeaseWatch())
    with _called_off(database, row["id"], is_new):
        order = give(
            database,
            settings,
            key,
            row,
            password,
            fingerprint=host.fingerprint,
            trust="first_use",
            by=ACTOR,
        )
        if is_new:
            desired.create_hypervisor(database, row, ACTOR)
        else:
            say(f"{row['id']} is in the list already: its access is set up again.")
        enrolment = _follow(database, row["id"], order, say)
        if enrolment["state"] != EnrolmentState.DONE:
            raise IsardError(str(enrolment.get("message") or "The engine could not log in."))
    _say_access(row, enrolment, say)
    _say_checks(_wait_for_checks(database, row["id"]), say)


def default_id(database: Database, hostname: str, port: int) -> str:
    """The address as a name; with the port where another host has that name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", hostname).strip("-._")[:50] or "hypervisor"
    present = queries.get_row(database, "hypervisors", plain)
    return plain if present is None or port == 22 else f"{plain}-{port}"


def _find_or_make_row(database: Database, settings: WebSettings, host: NewHost) -> tuple[Row, bool]:
    """The hypervisor's row and whether it is still to be made."""
    fields = {
        "id": host.id or "new",
        "hostname": host.hostname,
        "port": host.port,
        "user": host.user,
        "capabilities": host.capabilities,
        "pools": host.pools,
        "viewer": host.viewer,
        "description": host.description,
        "host_key": host.host_key,
    }
    _judge(database, new_row(fields, settings.kernel.viewer_port))
    twin = find_twin(database, {**fields, "id": ""})
    if twin is not None and host.id and twin["id"] != host.id:
        raise Conflict(
            "SameHost",
            f"{host.hostname} port {host.port} is there already, as {twin['id']!r}. Use that name, "
            "or leave ID out.",
        )
    name = host.id or (twin["id"] if twin else default_id(database, host.hostname, host.port))
    row = new_row({**fields, "id": name}, settings.kernel.viewer_port)
    present = queries.get_row(database, "hypervisors", name)
    if present is None:
        return row, True
    require_same_address(present, row)
    if as_mapping(present.get("desired")).get("state") == HypervisorDesired.DELETED:
        raise Conflict("BeingDeleted", f"{name!r} is being deleted: wait for its end.")
    return present, False


def _judge(database: Database, row: Row) -> None:
    problem = check_hypervisor({**row, "desired": {"state": "enabled"}})
    if problem:
        name = VARIABLES.get(problem.field.split(".")[0], problem.field)
        raise IsardError(f"{name} is wrong: {problem.why}.")
    known = {pool["id"] for pool in queries.list_rows(database, "hypervisors_pools")}
    unknown = sorted(set(row["pools"]) - known)
    if unknown:
        there = ", ".join(sorted(known))
        raise IsardError(f"POOL is wrong: there is no pool {unknown[0]!r}. There are: {there}.")


VARIABLES = {
    "id": "ID",
    "hostname": "HYPERVISOR",
    "port": "PORT",
    "user": "USER",
    "pools": "POOL",
    "viewer": "VIEWER",
}
"""Field of the row -> what the script calls it."""


@contextmanager
def _called_off(database: Database, hypervisor: str, is_new: bool) -> Iterator[None]:
    """What was begun is undone where it does not end well."""
    try:
        yield
    except BaseException:
        with suppress(IsardError):
            withdraw(database, hypervisor)
            if is_new:
                _remove(database, hypervisor)
        raise


def _remove(database: Database, hypervisor: str) -> None:
    desired.wish_hypervisor(database, hypervisor, HypervisorDesired.DELETED, ACTOR)
    deadline = time.monotonic() + REMOVE_S
    while time.monotonic() < deadline:
        if queries.get_row(database, "hypervisors", hypervisor) is None:
            return
        time.sleep(LOOK_S)


def _follow(database: Database, hypervisor: str, order: str, say: Say) -> Row:
    """`observed.enrolment` of this order when it has ended. Each new step is said."""
    deadline = time.monotonic() + ENROL_S
    said = ""
    while time.monotonic() < deadline:
        row = queries.get_row(database, "hypervisors", hypervisor)
        if row is None:
            raise IsardError(f"{hypervisor!r} was removed meanwhile.")
        enrolment = as_mapping(as_mapping(row.get("observed")).get("enrolment"))
        if enrolment.get("order") == order:
            if enrolment.get("state") not in UNFINISHED:
                return enrolment
            if enrolment.get("message") != said:
                said = str(enrolment.get("message"))
                say(said)
        time.sleep(LOOK_S)
    raise IsardError(
        "The engine has not tried to log in. Look at its log (docker-compose logs isard-engine, or "
        "make logs) and try again."
    )


def _say_access(row: Row, enrolment: Row, say: Say) -> None:
    say(f"Host key of {row['hostname']}: {enrolment.get('fingerprint')}")
    say(TRUSTED.get(str(enrolment.get("trusted")), ""))
    say(f"SSH access granted. {enrolment.get('message')}")


def _wait_for_checks(database: Database, hypervisor: str) -> Row:
    """The row once checks were made after now. Without them in time, as it is."""
    since = database.run(r.now())
    deadline = time.monotonic() + CHECKS_S
    while True:
        row = tidy_hypervisor(queries.get_row(database, "hypervisors", hypervisor) or {})
        seen = row["observed"]
        is_new = seen.get("at") is not None and seen["at"] >= since
        is_done = seen.get("state") not in (None, HypervisorState.CONNECTING)
        rests = row["desired"]["state"] == HypervisorDesired.DISABLED
        if (is_new and is_done and seen["checks"]) or rests or time.monotonic() > deadline:
            return row
        time.sleep(LOOK_S)


def _say_checks(row: Row, say: Say) -> None:
    seen = row["observed"]
    for check in seen["checks"]:
        mark = "ok    " if check.get("ok") else "FAILED"
        say(f"  {mark} {as_text(check.get('title'))}: {as_text(check.get('message'))}")
        if check.get("remedy"):
            say(f"         What to do: {as_text(check['remedy'])}")
    if seen.get("state") == HypervisorState.ONLINE:
        say(f"{row['id']} is online. You find it in the web interface under Hypervisors.")
    elif row["desired"]["state"] == HypervisorDesired.DISABLED:
        say(f"{row['id']} is disabled: enable it in the web interface under Hypervisors.")
    else:
        say(
            f"{row['id']} is added, but not everything is well yet. The web interface shows it "
            "under Hypervisors; it is tried again by itself."
        )
