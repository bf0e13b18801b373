"""Changefeeds: what each kind tells, squashing, overflow, and what cannot be followed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rethinkdb.errors import ReqlOpFailedError, ReqlTimeoutError

from tests.db.embedded.conftest import Run, r

Refusal = Callable[..., tuple[str, str]]
Follow = Callable[..., Any]


@pytest.fixture(scope="module")
def module_table(reql: Run) -> Iterator[Any]:
    name = "feeds_" + uuid.uuid4().hex[:8]
    reql(r.table_create(name))
    reql(r.table(name).index_create("n"))
    reql(r.table(name).index_wait())
    yield r.table(name)
    reql(r.table_drop(name))


@pytest.fixture
def table(module_table: Any, reql: Run) -> Any:
    """Rows 1 to 4 with n = 10 × id, and an index on n."""
    reql(module_table.delete())
    reql(module_table.insert([{"id": i, "n": 10 * i} for i in range(1, 5)]))
    return module_table


@pytest.fixture
def follow(reql_address: tuple[str, int]) -> Iterator[Follow]:
    """`follow(query)`: an open feed on a connection of its own."""
    host, port = reql_address
    connections = []

    def follow(query: Any, **options: Any) -> Any:
        connections.append(r.connect(host=host, port=port))
        return query.run(connections[-1], **options)

    yield follow
    for connection in connections:
        connection.close(noreply_wait=False)


def take(feed: Any, count: int) -> list[Any]:
    return [feed.next(wait=20) for _ in range(count)]


def assert_quiet(feed: Any) -> None:
    with pytest.raises(ReqlTimeoutError):
        feed.next(wait=0.1)


def ids(changes: list[Any]) -> list[tuple[Any, Any]]:
    return [
        tuple((change[side] or {}).get("id") for side in ("old_val", "new_val"))
        for change in changes
    ]


def test_a_feed_of_a_table_tells_every_change(reql: Run, table: Any, follow: Follow) -> None:
    feed = follow(table.changes())
    reql(table.insert({"id": 5}))
    reql(table.get(5).update({"n": 1}))
    reql(table.get(5).update({"n": 1}))
    reql(table.get(5).delete())
    assert take(feed, 3) == [
        {"old_val": None, "new_val": {"id": 5}},
        {"old_val": {"id": 5}, "new_val": {"id": 5, "n": 1}},
        {"old_val": {"id": 5, "n": 1}, "new_val": None},
    ]
    assert_quiet(feed)


def test_states_initial_values_and_types(reql: Run, table: Any, follow: Follow) -> None:
    query = table.get_all(1, 2).changes(
        include_initial=True, include_states=True, include_types=True
    )
    feed = follow(query)
    opening = take(feed, 4)
    assert opening[0] == {"state": "initializing", "type": "state"}
    assert sorted(row["new_val"]["id"] for row in opening[1:3]) == [1, 2]
    assert {row["type"] for row in opening[1:3]} == {"initial"}
    assert opening[3] == {"state": "ready", "type": "state"}
    reql(table.get(1).delete())
    reql(table.insert({"id": 1}))
    reql(table.get(1).update({"n": 0}))
    assert [row["type"] for row in take(feed, 3)] == ["remove", "add", "change"]


def test_a_point_feed_tells_of_its_document_only(reql: Run, table: Any, follow: Follow) -> None:
    feed = follow(table.get(9).changes(include_initial=True))
    assert take(feed, 1) == [{"new_val": None}]
    reql(table.get(1).update({"n": 0}))
    reql(table.insert({"id": 9}))
    assert take(feed, 1) == [{"old_val": None, "new_val": {"id": 9}}]


def test_rows_enter_and_leave_a_range_or_a_filter(reql: Run, table: Any, follow: Follow) -> None:
    feeds = [
        follow(table.between(10, 30, index="n").changes()),
        follow(table.filter(lambda row: row["n"] < 30).changes()),
        follow(table.filter(r.row["n"] < 30).pluck("id").changes()),
    ]
    reql(table.get(3).update({"n": 12}))
    reql(table.get(1).update({"n": 99}))
    reql(table.get(4).update({"n": 77}))
    for feed in feeds:
        assert ids(take(feed, 2)) == [(None, 3), (1, None)]
        assert_quiet(feed)


def test_what_fails_in_a_filter_is_not_in_the_feed(reql: Run, table: Any, follow: Follow) -> None:
    feed = follow(table.filter(lambda row: row["n"] / row["by"] > 1).changes())
    reql(table.insert([{"id": 5, "n": 1}, {"id": 6, "n": 1, "by": 0}, {"id": 7, "n": 9, "by": 2}]))
    assert ids(take(feed, 1)) == [(None, 7)]


def test_a_map_hides_changes_that_do_not_show(reql: Run, table: Any, follow: Follow) -> None:
    feed = follow(table.map(lambda row: row["n"]).changes())
    reql(table.get(1).update({"other": 1}))
    reql(table.get(1).update({"n": 5}))
    assert take(feed, 1) == [{"old_val": 10, "new_val": 5}]


@pytest.mark.parametrize("direction", [r.asc, r.desc])
def test_the_first_rows_by_an_index(reql: Run, table: Any, follow: Follow, direction: Any) -> None:
    query = table.order_by(index=direction("n")).limit(2)
    feed = follow(query.changes(include_initial=True, include_offsets=True))
    first, second = (1, 2) if direction is r.asc else (4, 3)
    opening = take(feed, 2)
    assert [(row["new_val"]["id"], row["new_offset"]) for row in opening] == [
        (first, 0),
        (second, 1),
    ]
    reql(table.get(first).delete())
    change = take(feed, 1)[0]
    assert change["old_val"]["id"] == first
    assert change["old_offset"] == 0
    assert change["new_val"]["id"] == (3 if direction is r.asc else 2)
    assert change["new_offset"] == 1


def test_steps_after_a_limit_are_applied_to_the_first_rows(
    reql: Run, table: Any, follow: Follow
) -> None:
    first = table.order_by(index="n").limit(3)
    odd = follow(first.filter(lambda row: row["id"] % 2 == 1).changes(include_initial=True))
    numbers = follow(first["n"].changes(include_initial=True))
    assert [row["new_val"]["id"] for row in take(odd, 2)] == [1, 3]
    assert [row["new_val"] for row in take(numbers, 3)] == [10, 20, 30]
    reql(table.get(2).delete())
    reql(table.get(1).delete())
    assert ids(take(odd, 1)) == [(1, None)]
    assert take(numbers, 2) == [{"old_val": 20, "new_val": 40}, {"old_val": 10, "new_val": None}]


def test_the_least_and_the_greatest_are_followed(reql: Run, table: Any, follow: Follow) -> None:
    least, greatest = follow(table.min(index="n").changes()), follow(table.max(index="n").changes())
    reql(table.insert([{"id": 0, "n": 1}, {"id": 9, "n": 99}, {"id": 5, "n": 20}]))
    assert ids(take(least, 1)) == [(1, 0)]
    assert ids(take(greatest, 1)) == [(4, 9)]


def test_a_union_of_feeds_tells_of_each(reql: Run, table: Any, follow: Follow) -> None:
    feed = follow(table.get_all(1).union(table.get_all(2)).changes())
    reql(table.get(1).delete())
    reql(table.get(2).delete())
    assert sorted(ids(take(feed, 2))) == [(1, None), (2, None)]


def test_squashing_makes_many_changes_one(reql: Run, table: Any, follow: Follow) -> None:
    feed = follow(table.changes(squash=0.5))
    for n in range(5):
        reql(table.get(1).update({"n": n}))
    reql(table.insert({"id": 9}))
    reql(table.get(9).delete())
    assert take(feed, 1) == [{"old_val": {"id": 1, "n": 10}, "new_val": {"id": 1, "n": 4}}]
    assert_quiet(feed)


def test_a_copied_function_of_an_index_serves_feeds(reql: Run, table: Any, follow: Follow) -> None:
    copied = reql(table.index_status("n"))[0]["function"]
    reql(table.index_create("copy", copied))
    reql(table.index_wait("copy"))
    feed = follow(table.get_all(55, index="copy").changes())
    reql(table.get(1).update({"n": 55}))
    assert ids(take(feed, 1)) == [(None, 1)]
    reql(table.index_drop("copy"))


def test_a_reader_that_falls_behind_is_told_and_holds_up_nobody(
    reql: Run, table: Any, follow: Follow
) -> None:
    feed = follow(table.changes(changefeed_queue_size=10), max_batch_rows=5)
    for start in range(100, 2100, 100):
        reql(table.insert([{"id": i, "pad": "x" * 100} for i in range(start, start + 100)]))
    row: dict[str, Any] = {}
    while "error" not in row:
        row = feed.next(wait=20)
    assert row["error"].startswith("Changefeed cache over array size limit, skipped ")
    reql(table.delete())
    assert feed.next(wait=20)


def test_a_dropped_table_ends_its_feeds(reql: Run, follow: Follow) -> None:
    name = "dropped_" + uuid.uuid4().hex[:8]
    reql(r.table_create(name))
    feed = follow(r.table(name).changes())
    reql(r.table_drop(name))
    with pytest.raises(ReqlOpFailedError, match="aborted"):
        feed.next(wait=20)


def test_a_feed_of_a_system_table(reql: Run, follow: Follow) -> None:
    name = "shown_" + uuid.uuid4().hex[:8]
    feed = follow(r.db("rethinkdb").table("table_config")["name"].changes())
    reql(r.table_create(name))
    assert take(feed, 1)[0]["new_val"] == name
    reql(r.table_drop(name))


def test_a_feed_can_be_limited_and_mapped_like_a_stream(
    reql: Run, table: Any, follow: Follow
) -> None:
    feed = follow(table.changes(include_initial=True)["new_val"]["id"].limit(4))
    assert sorted(feed) == [1, 2, 3, 4]


EAGER = "Cannot call `changes` on an eager stream."
ENDLESS = "Cannot call a terminal (`reduce`, `count`, etc.) on an infinite stream (such as a "

REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda t: t.order_by("n").changes(), EAGER),
    (lambda t: t.limit(2).changes(), EAGER),
    (lambda t: t.count().changes(), EAGER),
    (lambda t: t.distinct().changes(), EAGER),
    (lambda t: t.distinct(index="id").changes(), EAGER),
    (lambda t: t.eq_join("n", t).changes(), EAGER),
    (lambda t: r.expr([1]).changes(), EAGER),
    (lambda t: t.changes().changes(), EAGER),
    (lambda t: t.order_by(index="n").changes(), "Cannot call changes on an ordered stream."),
    (
        lambda t: t.concat_map(lambda row: [row]).changes(),
        "Cannot call `changes` after `concat_map`.",
    ),
    (
        lambda t: t.filter(lambda row: r.random(2) == 1).changes(),
        "Cannot call `changes` after a non-",
    ),
    (lambda t: t.union(t).limit(1).changes(), "Cannot call `changes` on a slice of a `union`."),
    (lambda t: t.changes(include_offsets=True), "Cannot include offsets for range subs."),
    (lambda t: t.get(1).changes(include_offsets=True), "Cannot include offsets for point subs."),
    (lambda t: t.changes(squash=-1), "Expected BOOL or a positive NUMBER but found a negative NUM"),
    (lambda t: t.changes(squash="x"), "Expected BOOL or NUMBER but found STRING."),
    (lambda t: t.changes(changefeed_queue_size=0), "Illegal changefeed queue size `0`."),
    (lambda t: t.changes().count(), ENDLESS),
    (lambda t: t.changes().nth(0), ENDLESS),
    (lambda t: t.changes().contains(1), ENDLESS),
    (lambda t: t.changes().order_by("x"), ENDLESS),
    (lambda t: t.changes().coerce_to("array"), ENDLESS),
    (lambda t: t.changes().delete(), "Expected type SELECTION but found SEQUENCE:"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_cannot_be_followed_says_why(table: Any, refusal: Refusal, number: int) -> None:
    query, told = REFUSED[number]
    kind, message = refusal(query(table))
    assert kind == "ReqlQueryLogicError"
    assert message.startswith(told)
