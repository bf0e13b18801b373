"""Several desktops from one template in one request: numbered ones for oneself, or one for each of
some users or of a group.

All is judged before any is made. A script does the same with one insert.
"""

from __future__ import annotations

from typing import Any

from db import desired, queries
from db.rowcheck import NAME_MAX
from webapp.auth.permissions import Person, can_make_for
from webapp.auth.sessions import person_of_row
from webapp.errors import Problem
from webapp.extensions import database
from webapp.services import audit, desktops

Payload = dict[str, Any]
BULK_MAX = 200


def make_desktops(user: Person, fields: dict[str, Any]) -> Payload:
    """`fields` as webapp.api.requests.NewDesktops has judged them."""
    template = desktops.find_template(user, fields["origin"]["template"])
    owners = _owners(user, fields)
    names = fields.get("names") or [
        _name(fields["name"], at, len(owners), owner) for at, owner in enumerate(owners, start=1)
    ]
    too_long = next((name for name in names if len(name) > NAME_MAX), None)
    if too_long is not None:
        raise Problem(
            422, "InvalidField", f"The name {too_long!r} is longer than {NAME_MAX}.", field="name"
        )
    rows = [
        desktops.new_row(owner, name, template, fields["description"])
        for owner, name in zip(owners, names, strict=True)
    ]
    desired.create_domains(database(), rows, user.actor)
    audit.record(user.actor, "desktop.create_many", f"domain/{template['id']}", count=len(rows))
    return {"items": [{key: row[key] for key in ("id", "name", "user")} for row in rows]}


def _owners(user: Person, fields: dict[str, Any]) -> list[Person]:
    """Whose each of the desktops will be."""
    if fields.get("users"):
        return _people(user, fields["users"])
    if fields.get("group"):
        return _people_of(user, fields["group"])
    return [user] * int(fields.get("count") or len(fields["names"]))


def _people(user: Person, ids: list[str]) -> list[Person]:
    wanted = list(dict.fromkeys(ids))
    rows = {row["id"]: row for row in queries.get_rows(database(), "users", wanted)}
    people = [person_of_row(rows[key]) for key in wanted if key in rows]
    found = {person.id: person for person in people if person and _is_theirs(user, person)}
    unknown = [key for key in wanted if key not in found]
    if unknown:
        raise _unknown("users", ", ".join(unknown[:5]))
    return list(found.values())


def _people_of(user: Person, group: str) -> list[Person]:
    rows = queries.list_by_index(database(), "users", "group", group)
    people = [person for person in map(person_of_row, rows) if person]
    if not people or not all(_is_theirs(user, person) for person in people):
        raise _unknown("group", group)
    if len(people) > BULK_MAX:
        raise Problem(
            422,
            "TooMany",
            f"The group has {len(people)} users; make desktops for {BULK_MAX} at once.",
            field="group",
        )
    return sorted(people, key=lambda person: person.id)


def _is_theirs(user: Person, person: Person) -> bool:
    return can_make_for(user, person.id, person.category)


def _unknown(field: str, names: str) -> Problem:
    return Problem(
        422,
        "NoSuchUser",
        f"You cannot make desktops for {names}: nobody of that name is among those you manage.",
        field=field,
    )


def _name(pattern: str, number: int, count: int, owner: Person) -> str:
    """`{n}` is the number, `{user}` whose it is. Several of one name get a number of themselves."""
    if count > 1 and "{n}" not in pattern and "{user}" not in pattern:
        pattern = f"{pattern} {{n}}"
    width = len(str(count))
    return pattern.replace("{n}", f"{number:0{width}d}").replace("{user}", owner.id)
