"""What may be the key of a row, asked of a database itself; reads of what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest

from db import queries
from db.connection import Database, r
from db.keys import LONGEST_KEY_BYTES, fit_key, is_key

LONGEST = "x" * LONGEST_KEY_BYTES
KEYS = ["a", "", LONGEST, "ü" * 63, 7, 1.5, True, ["a", 1]]
NO_KEYS = [LONGEST + "x", "ü" * 64, "a\x00b", None, {}, {"a": 1}]


@pytest.mark.parametrize("key", KEYS)
def test_what_the_database_takes_is_a_key(database: Database, key: Any) -> None:
    assert is_key(key)
    database.run(r.table("config").insert({"id": key, "there": True}, conflict="replace"))
    assert queries.get_row(database, "config", key) == {"id": key, "there": True}


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_the_database_refuses_is_no_key_and_no_row(database: Database, key: Any) -> None:
    assert not is_key(key)
    answer = database.run(r.table("config").insert({"id": key}))
    assert answer["errors"] == 1
    assert queries.get_row(database, "config", key) is None
    assert queries.get_rows(database, "config", [key]) == []
    assert queries.read_domain(database, key)["row"] is None
    assert queries.read_media(database, key) == {"row": None, "record": None}


def test_the_longest_id_of_a_row_is_read_with_its_records(database: Database) -> None:
    for table, read in (("domains", queries.read_domain), ("media", queries.read_media)):
        database.run(r.table(table).insert({"id": LONGEST}))
        assert read(database, LONGEST)["row"] == {"id": LONGEST}


def test_a_long_text_becomes_a_key_of_its_own() -> None:
    assert fit_key("default:/opt/isard/groups") == "default:/opt/isard/groups"
    long = [f"default:/{'ü' * 100}/{name}" for name in ("groups", "media")]
    keys = [fit_key(text) for text in long]
    assert all(is_key(key) and key.startswith("default:/ü") for key in keys)
    assert len(set(keys)) == 2
    assert keys == [fit_key(text) for text in long]


@pytest.mark.parametrize("text", ["a\x00b", "\x00", "a\x00" + "x" * 200])
def test_a_text_with_nul_becomes_a_key_too(text: str) -> None:
    assert is_key(fit_key(text))
    assert fit_key(text) != fit_key(text.replace("\x00", ""))
