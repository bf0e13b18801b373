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
    audit.record(
        user.actor, "desktop.create_many", f"domain/{template['id']}", count=len(rows)
    )
    return {"items": [{key: row[key] for key in ("id", "name", "user")} for row in rows]}


def _owners(user: Person, fields: dict[str, Any]) -> list[Person]:
    """Whose each of the desktops will be."""
    if fields.get("count"):
        return [user] * int(fields["count"])
    if fields.get("names"):
        return [user] * len(fields["names"])
    if fields.get("users"):
        wanted = list(dict.fromkeys(fields["users"]))
        rows = {row["id"]: row for row in queries.get_rows(database(), "users", wanted)}
        people = [person_of_row(rows[key]) if key in rows else None for key in wanted]
        field, unknown = "users", [
            key
            for key, person in zip(wanted, people, strict=True)
            if person is None or not can_make_for(user, person.id, person.category)
        ]
    else:
        rows_of_group = queries.list_by_index(database(), "users", "group", fields["group"])
        people = [person_of_row(row) for row in rows_of_group if row.get("enabled") is not False]
        people.sort(key=lambda person: person.id if person else "")
        allowed = [p for p in people if p and can_make_for(user, p.id, p.category)]
        field, unknown = "group", [] if people and len(allowed) == len(people) else [fields["group"]]
    if unknown:
        raise Problem(
            422,
            "NoSuchUser",
            f"You cannot make desktops for {', '.join(unknown[:5])}: there is no such user or "
            "group among those you manage.",
            field=field,
        )
    if len(people) > BULK_MAX:
        raise Problem(
            422, "TooMany", f"These are {len(people)} users; {BULK_MAX} at once.", field=field
        )
    return [person for person in people if person is not None]


def _name(pattern: str, number: int, count: int, owner: Person) -> str:
    """`{n}` is the number, `{user}` whose it is. Several of one name get a number of themselves."""
    if count > 1 and "{n}" not in pattern and "{user}" not in pattern:
        pattern = f"{pattern} {{n}}"
    width = len(str(count))
    return pattern.replace("{n}", f"{number:0{width}d}").replace("{user}", owner.id)
