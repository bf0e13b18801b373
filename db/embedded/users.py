"""Users and their passwords; what each may do is in `permissions.py`.

A user's row holds a SCRAM credential, never the password. `admin` always exists, with an
empty password on a fresh folder. The handshake asks `credential`, the system table `users` and the
start of the server set passwords.
"""

from __future__ import annotations

from typing import Any

from db.embedded.catalog import USER, Catalog
from db.embedded.handshake import ITERATIONS, Credential

ADMIN = "admin"


class Users:
    """Accounts, kept as rows of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def _row(self, name: str) -> dict[str, Any] | None:
        return self._catalog.rows.get(f"{USER}/{name}".encode())

    def credential(self, name: str) -> Credential | None:
        row = self._row(name)
        return None if row is None else Credential.from_row(row["credential"])

    def names(self) -> list[str]:
        start = f"{USER}/".encode()
        return sorted(
            key[len(start) :].decode() for key in self._catalog.rows if key.startswith(start)
        )

    def has_password(self, name: str) -> bool:
        row = self._row(name)
        return row is not None and bool(row["has_password"])

    def exists(self, name: str) -> bool:
        return self._row(name) is not None

    def set_password(self, name: str, password: str | None, iterations: int = ITERATIONS) -> None:
        """Create the user or change its password; None or empty is no password."""
        credential = Credential.of_password(password or "", iterations if password else 1)
        row = {"credential": credential.as_row(), "has_password": bool(password)}
        self._catalog.change(USER, name, row)

    def remove(self, name: str) -> None:
        self._catalog.change(USER, name, None)

    def prepare(self, password: str | None) -> None:
        """`admin` exists; a password given at start is its password from now on."""
        if password is not None:
            known = self.credential(ADMIN)
            if known is None or not known.is_of(password):
                self.set_password(ADMIN, password)
        elif not self.exists(ADMIN):
            self.set_password(ADMIN, None)
