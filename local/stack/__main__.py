"""`python -m local.stack`: the stack's own programs by name; see the package's docstring."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from pathlib import Path

from db.errors import IsardError
from db.settings import Settings
from local.stack import layout
from local.stack.prepare import CannotPrepare, prepare

DEFAULT_STACK = "isard"
DATABASE_DEADLINE_S = 60.0
RETRY_EVERY_S = 0.5
HEALTH_TIMEOUT_S = 6.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="folders, keys, secrets and certificates, as root")
    commands.add_parser("seed", help="the database's schema and first rows")
    commands.add_parser("health", help="0 if the web side of this container answers")
    arguments = parser.parse_args()
    try:
        return COMMANDS[arguments.command]()
    except (CannotPrepare, IsardError, OSError) as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1


def run_prepare() -> int:
    names = os.environ.get("ISARD_HOSTNAMES", "").split() or ["isard"]
    password, stack = os.environ.get("ISARD_ADMIN_PASSWORD"), os.environ.get("ISARD_STACK")
    for sentence in prepare(layout.ROOT, names, password, stack or DEFAULT_STACK):
        print(sentence, flush=True)
    return 0


def run_seed() -> int:
    """The database may still be starting: waits for it, and says so once."""
    from db.errors import DatabaseUnavailable
    from local.stack.seed import BACKUPS, UPLOADS, require_writable, seed

    require_writable((BACKUPS, UPLOADS))
    settings = Settings.from_environment()
    deadline = time.monotonic() + DATABASE_DEADLINE_S
    secrets, public = settings.data / "secrets", Path(settings.data, "public")
    replicas = int(os.environ.get("ISARD_DB_REPLICAS") or 1)
    while True:
        try:
            seed(settings, secrets, public, replicas, lambda sentence: print(sentence, flush=True))
            return 0
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_EVERY_S)


def run_health() -> int:
    """Any answer will do: what other parts lack is their containers' matter."""
    port = Settings.from_environment().web_port
    with socket.create_connection(("127.0.0.1", port), HEALTH_TIMEOUT_S) as client:
        client.settimeout(HEALTH_TIMEOUT_S)
        client.sendall(b"HEAD /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return 0 if client.recv(64).startswith(b"HTTP/") else 1


COMMANDS = {"prepare": run_prepare, "seed": run_seed, "health": run_health}

if __name__ == "__main__":
    sys.exit(main())
