"""A reader's and a writer's account: the database itself keeps them from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from rethinkdb.errors import ReqlPermissionError

from db import accounts, cli, schema
from db.connection import Database, r
from db.errors import Conflict, DatabaseUnavailable, NotFound


@pytest.fixture(autouse=True)
def no_account_stays(database: Database) -> Iterator[None]:
    """Accounts are the server's, which the whole run shares."""
    yield
    for name in accounts.list_accounts(database):
        accounts.remove(database, name)


def as_account(database: Database, name: str, password: str) -> Database:
    return Database(replace(database.settings, db_user=name, db_password=password))


def test_a_reader_sees_all_but_secrets_and_writes_nothing(database: Database) -> None:
    password = accounts.add(database, "reader", writes=False)
    reader = as_account(database, "reader", password)
    assert isinstance(reader.run(r.table("domains")), list)
    for table in schema.SECRET_TABLES:
        with pytest.raises(ReqlPermissionError):
            reader.run(r.table(table))
    with pytest.raises(ReqlPermissionError):
        reader.run(r.table("domains").insert({"id": "x"}))
    reader.close()


def test_a_writer_writes_wishes_and_not_what_is_the_engines(database: Database) -> None:
    password = accounts.add(database, "teacher", writes=True)
    writer = as_account(database, "teacher", password)
    assert writer.run(r.table("domains").insert({"id": "x"}))["inserted"] == 1
    for table in ("disks", "engine", "users", *schema.SECRET_TABLES):
        with pytest.raises(ReqlPermissionError):
            writer.run(r.table(table).insert({"id": "x"}))
    writer.close()


def test_accounts_are_made_once_and_end(database: Database) -> None:
    password = accounts.add(database, "reader", writes=False)
    with pytest.raises(Conflict):
        accounts.add(database, "reader", writes=True)
    assert accounts.list_accounts(database) == ["reader"]
    accounts.remove(database, "reader")
    with pytest.raises(DatabaseUnavailable, match="Unknown user"):
        as_account(database, "reader", password).run(r.table("domains"))
    with pytest.raises(NotFound):
        accounts.remove(database, "reader")


@pytest.mark.parametrize("name", ["", "admin", "Ana", "a b", "x" * 33, "ro'ot", "$(id)"])
def test_an_impossible_name_is_refused(database: Database, name: str) -> None:
    with pytest.raises(accounts.AccountError):
        accounts.add(database, name, writes=False)


def test_a_line_for_the_shell_is_run_and_what_it_yields_is_shown(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = database.settings
    for name, value in (("PORT", settings.db_port), ("HOST", settings.db_host)):
        monkeypatch.setenv(f"ISARD_DB_{name}", str(value))
    monkeypatch.setenv("ISARD_DB_NAME", settings.db_name)
    assert cli.main(["shell", "-c", "r.table('config').get('schema')['version'].run(conn)"]) == 0
    assert capsys.readouterr().out.strip() == str(schema.newest_version())
    assert cli.main(["shell", "-c", "x = 1; print(x + 1)"]) == 0
    assert capsys.readouterr().out.strip() == "2"
