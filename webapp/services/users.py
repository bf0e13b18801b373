"""People: log in, change the password, make accounts (the command line does that)."""

from __future__ import annotations

from typing import Any

from db import queries
from db.connection import Database, r
from db.errors import Conflict, IsardError, NotFound
from db.rowcheck import is_slug
from webapp.auth import passwords, sessions, throttle
from webapp.auth.permissions import ROLES, Person
from webapp.errors import Problem
from webapp.extensions import backend, database
from webapp.services import audit

WRONG_LOGIN = "The user name or the password is wrong."


def authenticate(name: str, password: str, address: str) -> Person:
    """The Person of this name and password. Raises 401 for a wrong pair (which of both is never
    said), 429 after too many.
    """
    attempt = throttle.begin(database(), backend().session_key, name, address)
    user_id = name.strip().lower()
    row = queries.get_row(database(), "users", user_id) if is_slug(user_id) else None
    right = passwords.is_right(database(), user_id if row else "", password)
    person = sessions.person_of_row(row) if row and right else None
    throttle.finish(database(), attempt, user_id if row else None, person is not None)
    if person is None:
        raise Problem(401, "WrongLogin", WRONG_LOGIN)
    database().run(
        r.table("users").get(user_id).update({"accessed_at": r.now()}, durability="soft")
    )
    return person


def change_password(user: Person, current: str, new: str, address: str) -> Person:
    """Set a new password and end all other sessions and tokens. Returns the Person with the new
    epoch: whoever keeps a session logs it in again (`auth.sessions.log_in`).
    """
    attempt = throttle.begin(database(), backend().session_key, user.id, address)
    right = passwords.is_right(database(), user.id, current)
    throttle.finish(database(), attempt, user.id, right)
    if not right:
        raise Problem(
            422, "WrongPassword", "The present password is wrong.", field="current_password"
        )
    passwords.check_strength(new, user.id, field="new_password")
    set_password(database(), user.id, new)
    audit.record(user.actor, "user.password", f"user/{user.id}")
    person = sessions.read_person(user.id)
    if person is None:
        raise NotFound(f"There is no user {user.id!r} any more.")
    return person


def set_password(handle: Database, user_id: str, password: str) -> None:
    """Store the password, then raise `sessions_epoch`: every session and token ends. Raises
    NotFound.
    """
    if queries.get_row(handle, "users", user_id) is None:
        raise NotFound(f"There is no user {user_id!r}.")
    passwords.store(handle, user_id, password)
    raise_epoch = {"sessions_epoch": r.row["sessions_epoch"].default(0).add(1)}
    handle.run(r.table("users").get(user_id).update(raise_epoch, durability="hard"))
    handle.run(r.table("api_tokens").get_all(user_id, index="user").delete())


def reset_password(handle: Database, user_id: str, password: str) -> None:
    """An administrator's way, without knowing the present one."""
    passwords.check_strength(password, user_id)
    set_password(handle, user_id, password)


def add_user(handle: Database, user_id: str, role: str, password: str, name: str = "") -> bool:
    """Make an account; False where it is there already with this role (its password stays).

    Raises Conflict where it has another role, Problem for a bad name or password.
    """
    if not is_slug(user_id):
        raise Problem(
            422,
            "InvalidField",
            "A user name has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins and ends with a "
            "letter or digit.",
            field="name",
        )
    if role not in ROLES:
        raise IsardError(f"A role is one of {', '.join(ROLES)}.")
    present = queries.get_row(handle, "users", user_id)
    if present:
        if present.get("role") != role:
            raise Conflict(
                "Exists", f"The user {user_id!r} is there with role {present['role']!r}."
            )
        return False
    passwords.check_strength(password, user_id)
    # The credential first: an account without one could not be told from one that lost it.
    passwords.store(handle, user_id, password)
    row = new_row(user_id, role, name)
    answer = handle.run(r.table("users").insert(row, durability="hard"))
    if answer["errors"]:
        raise Conflict("Exists", f"The user {user_id!r} was made by somebody else just now.")
    return True


def new_row(user_id: str, role: str, name: str = "") -> dict[str, Any]:
    return {
        "id": user_id,
        "name": name or user_id,
        "role": role,
        "group": "default",
        "category": "default",
        "enabled": True,
        "created_at": r.now(),
        "sessions_epoch": 1,
        "preferences": {},
    }


def list_users(handle: Database) -> list[dict[str, Any]]:
    return sorted(queries.list_rows(handle, "users"), key=lambda row: str(row["id"]))
