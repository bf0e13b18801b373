"""What a write term answers: counts, the first error, generated keys, and the changes if asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError

COUNTS: Final = ("deleted", "errors", "inserted", "replaced", "skipped", "unchanged")

Hook = Callable[[Datum, Datum, Datum], Any]


class Outcome:
    """The counts and changes of one write term, and the hook its documents go through."""

    def __init__(self, return_changes: bool | str, hook: Hook | None) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self.return_changes = return_changes
        self.hook = hook
        self.changes: list[Datum] = []
        self.first_error: str | None = None
        self.warnings: list[str] = []
        self.generated_keys: list[str] = []

    def note(self, what: str, old: Datum, new: Datum, error: str | None = None) -> None:
        self.counts[what] += 1
        if error is not None and self.first_error is None:
            self.first_error = error
        changed = what in ("inserted", "replaced", "deleted")
        if self.return_changes == "always" or (self.return_changes is True and changed):
            entry = {"new_val": new, "old_val": old}
            if error is not None:
                entry["error"] = error
            self.changes.append(entry)

    def as_datum(self, env: Env) -> dict[str, Datum]:
        made: dict[str, Datum] = dict(self.counts)
        if self.first_error is not None:
            made["first_error"] = self.first_error
        if self.generated_keys:
            limit = env.array_limit
            made["generated_keys"] = self.generated_keys[:limit]
            if len(self.generated_keys) > limit:
                self.warnings.append(
                    f"Too many generated keys ({len(self.generated_keys)}), "
                    f"array truncated to {limit}."
                )
        if self.return_changes:
            made["changes"] = self.changes[: env.array_limit]
            if len(self.changes) > env.array_limit:
                self.warnings.append(f"Too many changes, array truncated to {env.array_limit}.")
        if self.warnings:
            made["warnings"] = self.warnings
        return made


def parse_return_changes(value: Datum) -> bool | str:
    if type(value) is str:
        if value != "always":
            raise QueryLogicError(
                f"Invalid return_changes value `{value}` (options are `true`, `false`, and "
                "`'always'`.)"
            )
        return value
    return value is not None and value is not False
