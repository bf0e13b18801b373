"""`python -m db backups`: the backups that the web side keeps, from a terminal.

Wishes only: the web side that holds the lease `clock` makes them. `db.cli` adds these commands.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from db import backup_rows
from db.backup_schedule import failing, next_moment
from db.connection import Database
from db.errors import IsardError

WAIT_S = 3600.0
POLL_S = 0.5
BY = "terminal"


class BackupNotGood(IsardError):
    """The text says what is wrong with the backup, or why there is none."""


def add_commands(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=show)
    actions = parser.add_subparsers(dest="action")
    actions.add_parser("list", help="what there is, and the schedule").set_defaults(run=show)
    now = actions.add_parser("now", help="have one made and tried, and wait for it")
    now.add_argument("--no-wait", action="store_true", help="only order it")
    now.set_defaults(run=order_now)
    delete = actions.add_parser("delete", help="have one deleted")
    delete.add_argument("id")
    delete.set_defaults(run=delete_one)
    schedule = actions.add_parser("schedule", help="change when they are made and kept")
    for field in ("every_hours", "keep_count", "keep_days"):
        schedule.add_argument(f"--{field.replace('_', '-')}", type=int, metavar="N")
    schedule.add_argument("--at", metavar="HH:MM", help="UTC")
    schedule.add_argument("--on", dest="enabled", action="store_true", default=None)
    schedule.add_argument("--off", dest="enabled", action="store_false")
    schedule.set_defaults(run=change_schedule)


def show(database: Database, _args: argparse.Namespace) -> None:
    rows = backup_rows.list_backups(database)
    for row in sorted(rows, key=lambda row: str(row["id"])):
        observed = row.get("observed") or {}
        state = observed.get("state") or "waiting"
        print(f"{row['id']}  {state}  {observed.get('message') or ''}".rstrip())
    schedule = backup_rows.schedule_of(database)
    now = datetime.now(UTC)
    following = next_moment(schedule, now)
    told = f"Next: {following:%Y-%m-%d %H:%M} UTC." if following else "The schedule is off."
    print(
        f"Every {schedule.every_hours} h at {schedule.at} UTC, kept: {schedule.keep_count} for "
        f"{schedule.keep_days} days. {told}"
    )
    for sentence in (
        *schedule.problems,
        failing(schedule, backup_rows.made_by_schedule(rows), now),
    ):
        if sentence:
            print(sentence)


def order_now(database: Database, args: argparse.Namespace) -> None:
    """Raises BackupNotGood."""
    backup_id = backup_rows.order(database, BY)["id"]
    if args.no_wait:
        print(f"{backup_id} is ordered.")
        return
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        row = next(
            (one for one in backup_rows.list_backups(database) if one["id"] == backup_id), {}
        )
        if not row:
            raise BackupNotGood(f"{backup_id} was deleted.")
        if not backup_rows.is_new(row):
            seen = row["observed"]
            if seen["state"] != "verified":
                raise BackupNotGood(f"{backup_id}: {seen['state']}. {seen.get('message')}")
            print(f"{backup_id}: verified, {seen['rows']} rows, {seen['size']} bytes.")
            return
        time.sleep(POLL_S)
    raise BackupNotGood(f"{backup_id} is not made after an hour: is a web side running?")


def delete_one(database: Database, args: argparse.Namespace) -> None:
    """Raises NotFound."""
    backup_rows.wish(database, args.id, "deleted", BY)
    print(f"{args.id} is being deleted.")


def change_schedule(database: Database, args: argparse.Namespace) -> None:
    """Raises BackupNotGood naming the field."""
    fields = ("enabled", "every_hours", "at", "keep_count", "keep_days")
    changes = {name: getattr(args, name) for name in fields if getattr(args, name) is not None}
    try:
        if changes:
            backup_rows.change_schedule(database, changes)
    except ValueError as error:
        raise BackupNotGood(str(error)) from error
    show(database, args)
