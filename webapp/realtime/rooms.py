"""Who is connected to this process, and the names of the rooms.

One process's own connections only: each webapp follows the feeds itself, so none needs to know of
another's. Used by events and feeds, in one gevent loop.
"""

from __future__ import annotations

from webapp.auth.permissions import Person

ADMINS = "admins"


def room_of(user_id: str) -> str:
    return f"user/{user_id}"


def rooms_for(person: Person) -> list[str]:
    return [room_of(person.id), ADMINS] if person.is_admin else [room_of(person.id)]


class Connections:
    """Socket id -> Person, both ways."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}

    def add(self, sid: str, person: Person) -> None:
        self._people[sid] = person

    def remove(self, sid: str) -> None:
        self._people.pop(sid, None)

    def person(self, sid: str) -> Person | None:
        return self._people.get(sid)

    def everyone(self) -> list[tuple[str, Person]]:
        return list(self._people.items())

    def of_user(self, user_id: str) -> list[tuple[str, Person]]:
        return [(sid, person) for sid, person in self._people.items() if person.id == user_id]

    def has_admins(self) -> bool:
        return any(person.is_admin for person in self._people.values())

    def admin_sids(self, user_id: str) -> list[str]:
        """This user's connections that are in ADMINS too."""
        return [sid for sid, person in self.of_user(user_id) if person.is_admin]


connections = Connections()
