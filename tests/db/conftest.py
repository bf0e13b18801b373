"""One body of tests for both databases: with RETHINKDB_URL it runs against that RethinkDB.

Only tests about the embedded server itself (it is killed, limited, or evaluated in this process)
stay at home then: they are marked `embedded_only("why")`. Collection fails where the mark and what
a test does disagree, so that no test is left out by mistake.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers import EmbeddedServer

HERE = Path(__file__).parent
# Fixtures that start an embedded server whatever RETHINKDB_URL says.
OWN_SERVER = frozenset({"server", "embedded", "filled"})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "embedded_only(why): about the embedded server itself, not about ReQL"
    )


def is_about_the_embedded_server(item: pytest.Function) -> bool:
    fixtures = set(item.fixturenames)
    if fixtures & OWN_SERVER:
        return True
    if "reql_address" in fixtures:
        return False
    return any(
        value is EmbeddedServer or str(getattr(value, "__module__", "")).startswith("db.embedded")
        for value in vars(item.module).values()
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [
        item
        for item in items
        if isinstance(item, pytest.Function) and item.path.is_relative_to(HERE)
    ]
    for item in ours:
        mark = item.get_closest_marker("embedded_only")
        if mark is not None and not (mark.args and isinstance(mark.args[0], str)):
            raise pytest.UsageError(f"{item.nodeid}: embedded_only needs a reason")
        if (mark is not None) != is_about_the_embedded_server(item):
            raise pytest.UsageError(f"{item.nodeid}: embedded_only does not fit what it uses")
    if os.environ.get("RETHINKDB_URL"):
        left_out = [item for item in ours if item.get_closest_marker("embedded_only")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
