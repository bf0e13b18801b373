"""`python -m webapp hypervisor …`: hosts that run desktops, from a terminal or a script.

`add` alone writes the row, as set-ups want it. With a password (`--password-stdin`, or PASSWORD in
the environment and `--enrol`) it does all that adding a host takes and waits for the first checks;
`/add-hypervisor.sh` is that. The password is on no command line, and in no process that is started
from here. Part of webapp/cli.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from db.connection import Database
from db.errors import IsardError
from webapp.services import adding, setup
from webapp.services.enrolments import read_fingerprint
from webapp.settings import WebSettings

KINDS = {
    **setup.CAPABILITIES,
    "mixed": setup.CAPABILITIES["both"],
    "hypervisor,disk_operations": setup.CAPABILITIES["both"],
    "disk_operations,hypervisor": setup.CAPABILITIES["both"],
}
PASSWORD_MAX_BYTES = 4096
STOPPED = 130


def add_commands(noun: argparse.ArgumentParser) -> None:
    verbs = noun.add_subparsers(required=True, metavar="verb")
    add = verbs.add_parser("add", help="add a host, as the page would")
    add.set_defaults(run=add_hypervisor)
    add.add_argument("id", metavar="ID", nargs="?", default="", help="by default its address")
    add.add_argument("--hostname", required=True, help="name or IP address")
    add.add_argument("--port", default="22", help="of its SSH server")
    add.add_argument("--user", default="root")
    add.add_argument("--host-key-file", type=Path, help="its public host key, to be trusted")
    add.add_argument("--fingerprint", help="of its host key, as ssh-keygen -l shows it")
    add.add_argument("--viewer-port", type=int, help="of its websocket proxy")
    add.add_argument("--viewer", default="", metavar="HOST[:PORT]", help="where browsers reach it")
    add.add_argument("--kinds", "--capabilities", dest="kinds", default="")
    add.add_argument("--pool", default="", help="one, or several with commas between")
    add.add_argument("--description", default="")
    add.add_argument("--update", action="store_true", help="change the row if it differs")
    add.add_argument("--enrol", action="store_true", help="log in by PASSWORD of the environment")
    add.add_argument("--password-stdin", action="store_true", help="the same, from standard input")


def add_hypervisor(database: Database, args: argparse.Namespace) -> None:
    """Raises IsardError with what to do."""
    password = _take_password(args.password_stdin)
    host = _read_host(args)
    if args.enrol or args.password_stdin:
        signal.signal(signal.SIGTERM, _call_off)
        adding.add_host(database, WebSettings.from_environment(), host, password, _say)
        return
    if not host.id:
        raise IsardError("Give the hypervisor a name: hypervisor add NAME --hostname …")
    fields = {
        "id": host.id,
        "hostname": host.hostname,
        "port": host.port,
        "user": host.user,
        "host_key": host.host_key,
        "description": host.description,
        "capabilities": host.capabilities or setup.CAPABILITIES["both"],
        "pools": host.pools,
        "viewer": host.viewer,
    }
    setup.ensure_hypervisor(database, fields, update=args.update)


def _read_host(args: argparse.Namespace) -> adding.NewHost:
    hostname = args.hostname.strip()
    if not hostname:
        raise IsardError(
            "HYPERVISOR is missing: give the host's name or IP address, as in "
            "HYPERVISOR=192.168.0.114."
        )
    if args.kinds and args.kinds not in KINDS:
        raise IsardError(
            f"KINDS is wrong: it must be hypervisor, disk_operations or both, not {args.kinds!r}."
        )
    return adding.NewHost(
        hostname=hostname,
        port=_read_port(args.port or "22", "PORT"),
        user=args.user or "root",
        id=args.id,
        capabilities=KINDS[args.kinds] if args.kinds else None,
        pools=[pool.strip() for pool in args.pool.split(",") if pool.strip()],
        viewer=read_viewer(args.viewer, args.viewer_port),
        description=args.description,
        host_key=setup.read_host_key(args.host_key_file) if args.host_key_file else None,
        fingerprint=read_fingerprint(args.fingerprint),
    )


def read_viewer(text: str, port: int | None) -> dict[str, Any]:
    """`HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or `:PORT`."""
    viewer: dict[str, Any] = {"port": port} if port else {}
    if not text:
        return viewer
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, number = text, ""
    if number:
        viewer["port"] = _read_port(number, "VIEWER")
    host = host.removeprefix("[").removesuffix("]")
    return {**viewer, "hostname": host} if host else viewer


def _read_port(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise IsardError(f"{name} is wrong: a port is a number from 1 to 65535, not {text!r}.")
    return int(text)


def _take_password(from_stdin: bool) -> str:
    """Taken out of the environment in any case."""
    password = os.environ.pop("PASSWORD", "")
    if not from_stdin:
        return password
    given = sys.stdin.buffer.read(PASSWORD_MAX_BYTES + 1)
    try:
        text = given.decode()
    except UnicodeDecodeError:
        raise IsardError("PASSWORD is wrong: it is not UTF-8 text.") from None
    if len(given) > PASSWORD_MAX_BYTES or len(text) > 1024 or "\0" in text:
        raise IsardError("PASSWORD is wrong: it may have 1024 characters at most.")
    return text


def _say(text: str) -> None:
    print(text, flush=True)


def _call_off(_number: int, _frame: FrameType | None) -> None:
    """Ends by an exception, so that what was begun is undone."""
    raise SystemExit(STOPPED)
