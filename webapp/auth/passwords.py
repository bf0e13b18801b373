"""Password hashes: argon2id, in the table `credentials`, off the event loop.

Checking takes the same time for a name nobody has, so names cannot be found out by the clock.
A hash made with older parameters is made anew at the next login. Hashing is heavy on purpose and
libargon2 releases the interpreter, so it runs in gevent's thread pool and other requests go on.
"""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from db.connection import Database, r
from db.queries import get_row
from webapp.errors import Problem
from webapp.threads import off_the_loop

PASSWORD_MIN = 8
PASSWORD_MAX = 1024

HASHER = PasswordHasher()


@cache
def _hash_of_nobody() -> str:
    return HASHER.hash("nobody has this password")


def check_strength(password: str, user_id: str, field: str = "password") -> None:
    """Raises Problem 422 for a password that is too short, too long or the user's own name."""
    if len(password) < PASSWORD_MIN:
        why = f"it must have at least {PASSWORD_MIN} characters"
    elif len(password) > PASSWORD_MAX:
        why = f"it must have at most {PASSWORD_MAX} characters"
    elif password.casefold() == user_id.casefold():
        why = "it must not be the user name"
    else:
        return
    raise Problem(422, "WeakPassword", f"The new password is refused: {why}.", field=field)


def store(database: Database, user_id: str, password: str) -> None:
    row = {"id": user_id, "argon2": off_the_loop(HASHER.hash, password), "changed_at": r.now()}
    database.run(r.table("credentials").insert(row, conflict="replace", durability="hard"))


def is_right(database: Database, user_id: str, password: str) -> bool:
    """True where this is the user's password. Costs the same when there is no such user."""
    row = get_row(database, "credentials", user_id) or {}
    known = row.get("argon2")
    right = off_the_loop(_verify, known or _hash_of_nobody(), password[: PASSWORD_MAX + 1])
    if not known or not right:
        return False
    if HASHER.check_needs_rehash(known):
        store(database, user_id, password)
    return True


def _verify(known: str, password: str) -> bool:
    try:
        return HASHER.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
