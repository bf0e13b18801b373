"""Errors of the kernel. Each carries a sentence a person can act on."""

from __future__ import annotations


class IsardError(Exception):
    """Base of all errors we raise on purpose."""


class SettingsError(IsardError):
    """An environment variable is wrong; the text names it."""


class DatabaseUnavailable(IsardError):
    """The database did not answer in time, or the connection was lost. Later may work."""


class DatabaseCannotWrite(DatabaseUnavailable):
    """It answers, but its disk takes nothing more: what was asked was undone. Later may work."""


class SchemaError(IsardError):
    """The database holds a schema this program cannot work with; the text says what to do."""


class NotFound(IsardError):
    """There is no such row (or it is not there any more)."""


class Conflict(IsardError):
    """The row changed meanwhile, exists already, or its state does not allow this. `reason` is one
    word.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Fenced(IsardError):
    """A newer engine has taken over: this one must not write any more."""
