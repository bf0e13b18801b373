"""Backups over REST, for administrators: thin, see `webapp.services.backups`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from db.backup_schedule import BOUNDS, TIME_OF_DAY
from db.sentences import pattern
from webapp.api.answers import Answer
from webapp.api.operations import operation
from webapp.api.requests import Body
from webapp.auth.permissions import Person
from webapp.services import backups

TAG = "Backups"
NDJSON = "application/x-ndjson"

TimeOfDay = Annotated[
    str, StringConstraints(pattern=pattern(TIME_OF_DAY, "give hours and minutes, like 02:30"))
]


class NewBackup(Body):
    secrets: bool = True
    """Whether it holds password hashes, tokens and console passwords: all of a restore needs."""


class DownloadQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secrets: bool = False
    """Send password hashes, tokens and console passwords too."""


def _number(field: str) -> Any:
    lowest, highest = BOUNDS[field]
    return Field(ge=lowest, le=highest)


class ChangeSchedule(Body):
    """What is given is changed. `at` is UTC."""

    enabled: bool | None = None
    every_hours: Annotated[int, _number("every_hours")] | None = None
    at: TimeOfDay | None = None
    keep_count: Annotated[int, _number("keep_count")] | None = None
    keep_days: Annotated[int, _number("keep_days")] | None = None

    @model_validator(mode="after")
    def something(self) -> ChangeSchedule:
        given = self.model_fields_set
        if not given or any(getattr(self, name) is None for name in given):
            raise ValueError("give something to change, not null")
        return self


class Backup(Answer):
    id: str
    kind: Literal["scheduled", "hand", "found"]
    by: str
    created_at: str | None
    made_at: str | None
    state: Literal[
        "waiting",
        "writing",
        "checking",
        "verified",
        "unverified",
        "failed",
        "missing",
        "deleting",
    ]
    percent: int | None
    size: int | float | None
    """In bytes."""
    schema_: int | float | None = Field(alias="schema")
    tables: int | float | None
    rows: int | float | None
    secrets: bool
    reason: str | None
    message: str | None
    is_open: bool
    can_download: bool
    can_retry: bool


class Backups(Answer):
    items: list[Backup]


class BackupSchedule(Answer):
    enabled: bool
    every_hours: int
    at: str
    keep_count: int
    keep_days: int
    next_at: str | None
    problem: str | None
    """Why the schedule does not do its work."""
    field_problems: list[str]
    """What a script has set wrongly."""


@operation("GET", "/backups", tag=TAG, who="admin", summary="List backups", answer=Backups)
def list_backups(user: Person) -> dict[str, Any]:
    """The newest first."""
    return {"items": backups.list_backups(user)}


@operation(
    "POST",
    "/backups",
    tag=TAG,
    who="admin",
    summary="Back up now",
    body=NewBackup,
    answer=Backup,
    status=202,
)
def create_backup(user: Person, body: NewBackup) -> dict[str, Any]:
    """It is written, and then restored into an empty database: `verified`, or the message says what
    is wrong. What a person orders stays until a person deletes it.
    """
    return backups.order(user, secrets=body.secrets)


@operation(
    "GET", "/backups/<backup_id>", tag=TAG, who="admin", summary="Read a backup", answer=Backup
)
def get_backup(user: Person, backup_id: str) -> dict[str, Any]:
    return backups.get_backup(user, backup_id)


@operation(
    "GET",
    "/backups/<backup_id>/file",
    tag=TAG,
    who="admin",
    summary="Download a backup",
    query=DownloadQuery,
    media_type=NDJSON,
    refusals=(409,),
)
def download_backup(user: Person, backup_id: str, query: DownloadQuery) -> Response:
    """JSON lines with sums, for `python -m db restore`. Without `secrets` nobody can log in after a
    restore until passwords are set anew.
    """
    found = backups.download(user, backup_id, secrets=query.secrets)
    answer = Response(found.chunks, mimetype=NDJSON)
    answer.headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
    answer.headers["Cache-Control"] = "no-store"
    if found.size is not None:
        answer.content_length = found.size
    return answer


@operation(
    "POST",
    "/backups/<backup_id>/trials",
    tag=TAG,
    who="admin",
    summary="Try a backup again",
    answer=Backup,
    status=202,
    refusals=(409,),
)
def try_backup(user: Person, backup_id: str) -> dict[str, Any]:
    """Its file is restored into an empty database once more; one that failed is made again."""
    return backups.try_again(user, backup_id)


@operation(
    "DELETE",
    "/backups/<backup_id>",
    tag=TAG,
    who="admin",
    summary="Delete a backup",
    answer=Backup,
    status=202,
)
def delete_backup(user: Person, backup_id: str) -> dict[str, Any]:
    return backups.delete(user, backup_id)


@operation(
    "GET",
    "/backup-schedule",
    tag=TAG,
    who="admin",
    summary="Read the schedule of backups",
    answer=BackupSchedule,
)
def get_backup_schedule(user: Person) -> dict[str, Any]:
    return backups.read_schedule(user)


@operation(
    "PATCH",
    "/backup-schedule",
    tag=TAG,
    who="admin",
    summary="Change the schedule of backups",
    body=ChangeSchedule,
    answer=BackupSchedule,
)
def change_backup_schedule(user: Person, body: ChangeSchedule) -> dict[str, Any]:
    """Moments lie every so many hours from `at` on a Monday on. One that was missed is made up for;
    none is due at once because the schedule was changed.
    """
    return backups.change_schedule(user, body.model_dump(exclude_unset=True))
