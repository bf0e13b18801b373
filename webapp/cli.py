"""`python -m webapp`: without a command it serves; with one it makes what an installation needs.

Each command says nothing where all is so already, and ends with a sentence and status 1 where it
cannot be so. Passwords come from standard input or a prompt, never from the command line, where
others could read them. Used by people, `make run` and the image.
"""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys
from collections.abc import Callable

from db.connection import Database
from db.errors import IsardError
from webapp import hypervisor_cli
from webapp.auth.permissions import ROLES
from webapp.services import setup, users
from webapp.settings import WebSettings

Command = Callable[[Database, argparse.Namespace], None]


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        settings = WebSettings.from_environment()
        if args.run is None:
            from webapp.server import serve

            serve(settings)
            return 0
        database = Database(settings.kernel)
        try:
            args.run(database, args)
        finally:
            database.close()
    except IsardError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m webapp", description="Without a command: serve the web side."
    )
    parser.set_defaults(run=None)
    nouns = parser.add_subparsers(metavar="command")
    _user_commands(nouns.add_parser("user", help="people who log in"))
    hypervisor_cli.add_commands(nouns.add_parser("hypervisor", help="hosts that run desktops"))
    _pool_commands(nouns.add_parser("pool", help="where disks are kept"))
    _template_commands(nouns.add_parser("template", help="what desktops are made from"))
    return parser


def _user_commands(noun: argparse.ArgumentParser) -> None:
    verbs = noun.add_subparsers(required=True, metavar="verb")
    add = _verb(verbs, "add", _add_user, "make an account")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, default="user")
    add.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    password = _verb(verbs, "password", _set_password, "set a password; ends all sessions")
    password.add_argument("name", metavar="NAME")
    password.add_argument("--password-stdin", action="store_true")
    _verb(verbs, "list", _list_users, "name, role and whether enabled")


def _pool_commands(noun: argparse.ArgumentParser) -> None:
    verbs = noun.add_subparsers(required=True, metavar="verb")
    paths = _verb(verbs, "paths", _set_pool_paths, "keep a pool's files below one folder")
    paths.add_argument("pool", metavar="POOL")
    paths.add_argument("--root", required=True, metavar="DIR")
    paths.add_argument(
        "--only-first", action="store_true", help="only where its paths are those it came with"
    )


def _template_commands(noun: argparse.ArgumentParser) -> None:
    verbs = noun.add_subparsers(required=True, metavar="verb")
    add = _verb(verbs, "add", _add_template, "make a template, shared with everybody, of an image")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--image", required=True, metavar="PATH", help="on the disk host")
    add.add_argument("--memory-mib", type=int, default=512)
    add.add_argument("--vcpus", type=int, default=1)
    add.add_argument("--os", default="linux")
    add.add_argument("--icon", default="")
    add.add_argument("--description", default="")
    add.add_argument("--owner", default="admin", metavar="USER")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Command, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text)
    parser.set_defaults(run=run)
    return parser


def _add_user(database: Database, args: argparse.Namespace) -> None:
    made_up = None
    if args.password_stdin or sys.stdin.isatty():
        password = _read_password(args.password_stdin)
    else:
        password = made_up = secrets.token_urlsafe(12)
    if users.add_user(database, args.name, args.role, password) and made_up:
        print(f"The password of {args.name} is {made_up}")


def _set_password(database: Database, args: argparse.Namespace) -> None:
    users.reset_password(database, args.name, _read_password(args.password_stdin))


def _list_users(database: Database, _args: argparse.Namespace) -> None:
    for row in users.list_users(database):
        state = "enabled" if row.get("enabled", True) else "disabled"
        print(f"{row['id']}\t{row.get('role', '')}\t{state}")


def _set_pool_paths(database: Database, args: argparse.Namespace) -> None:
    setup.ensure_pool_paths(database, args.pool, args.root, only_first=args.only_first)


def _add_template(database: Database, args: argparse.Namespace) -> None:
    setup.ensure_template(
        database,
        name=args.name,
        image=args.image,
        owner=args.owner,
        memory_mib=args.memory_mib,
        vcpus=args.vcpus,
        os=args.os,
        icon=args.icon,
        description=args.description,
    )


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise IsardError("Give the password on standard input, with --password-stdin.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise IsardError("The two passwords differ.")
    return password
