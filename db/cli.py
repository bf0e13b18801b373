"""`python -m db`: what an administrator does with the database from a terminal."""

from __future__ import annotations

import argparse
import sys

from db import defaults, schema
from db.connection import Database
from db.errors import IsardError
from db.settings import Settings


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m db", description="The product's database.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init", help="create what is missing, upgrade what is older")
    commands.add_parser("version", help="print the schema's version")
    args = parser.parse_args(argv)
    try:
        database = Database(Settings.from_environment())
        if args.command == "init":
            version = schema.ensure(database)
            defaults.insert_missing(database)
            print(f"The database is ready (schema {version}).")
        else:
            print(schema.read_version(database))
    except IsardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
