"""`python -m db`: what an administrator does with the database from a terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from db import accounts, backup, backup_cli, backup_trial, defaults, schema, shell
from db.connection import Database
from db.errors import IsardError
from db.settings import Settings


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        database = Database(Settings.from_environment())
        return int(args.run(database, args) or 0)
    except IsardError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m db", description="The product's database.")
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="create what is missing, upgrade what is older")
    init.set_defaults(run=_init)
    version = commands.add_parser("version", help="print the schema's version")
    version.set_defaults(run=_version)
    save = commands.add_parser("backup", help="write everything to one file of JSON lines")
    save.add_argument("file", type=Path)
    save.add_argument(
        "--without-secrets",
        action="store_true",
        help="leave password hashes, tokens and console passwords out",
    )
    save.set_defaults(run=_backup)
    check = commands.add_parser("verify", help="read a backup and check every sum")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--restore",
        action="store_true",
        help="also restore it into a private empty database, and compare",
    )
    check.set_defaults(run=_verify)
    kept = commands.add_parser("backups", help="the backups the web side keeps, and their schedule")
    backup_cli.add_commands(kept)
    load = commands.add_parser("restore", help="write a backup into an empty database")
    load.add_argument("file", type=Path)
    load.add_argument("--replace", action="store_true", help="give up what the database holds")
    load.set_defaults(run=_restore)
    python = commands.add_parser("shell", help="Python with `r` and a connection `conn`")
    python.add_argument("-c", dest="line", metavar="LINE", help="run this line instead of asking")
    python.set_defaults(run=_shell)
    account = commands.add_parser("account", help="accounts for people who script the database")
    actions = account.add_subparsers(dest="action", required=True)
    make = actions.add_parser("add", help="make one; its password is shown once")
    make.add_argument("name")
    make.add_argument("--write", action="store_true", help="may write wishes too")
    make.set_defaults(run=_add_account)
    take = actions.add_parser("remove", help="end one")
    take.add_argument("name")
    take.set_defaults(run=_remove_account)
    actions.add_parser("list", help="their names").set_defaults(run=_list_accounts)
    return parser


def _init(database: Database, _args: argparse.Namespace) -> None:
    version = schema.ensure(database)
    defaults.insert_missing(database)
    print(f"The database is ready (schema {version}).")


def _version(database: Database, _args: argparse.Namespace) -> None:
    print(schema.read_version(database))


def _backup(database: Database, args: argparse.Namespace) -> None:
    summary = backup.backup(database, args.file, secrets=not args.without_secrets, report=print)
    print(f"{args.file}: {summary.tables} tables, {summary.rows} rows, schema {summary.schema}.")


def _verify(_database: Database, args: argparse.Namespace) -> None:
    summary = backup.verify(args.file)
    if args.restore:
        trial = backup_trial.try_restore(args.file, args.file.absolute().parent, report=print)
        if trial.differences:
            raise backup.BackupError("\n".join(trial.differences))
    print(
        f"{args.file} is whole: {summary.tables} tables, {summary.rows} rows, "
        f"schema {summary.schema}, made {summary.created_at}."
    )


def _restore(database: Database, args: argparse.Namespace) -> None:
    summary = backup.restore(database, args.file, replace=args.replace, report=print)
    print(f"Restored {summary.tables} tables, {summary.rows} rows. Start the engine now.")


def _shell(database: Database, args: argparse.Namespace) -> None:
    if args.line is None:
        shell.interact(database)
        return
    answer = shell.run_line(database, args.line)
    if answer is not None:
        print(answer)


def _add_account(database: Database, args: argparse.Namespace) -> None:
    password = accounts.add(database, args.name, writes=args.write)
    print(f"Account {args.name}, password (not shown again): {password}")


def _remove_account(database: Database, args: argparse.Namespace) -> None:
    accounts.remove(database, args.name)
    print(f"The account {args.name} is gone.")


def _list_accounts(database: Database, _args: argparse.Namespace) -> None:
    for name in accounts.list_accounts(database):
        print(name)
