"""Samples become points: as they are, and as means over a minute and a quarter of an hour."""

from __future__ import annotations

from typing import Any

from db.windows import WINDOWS
from engine.hypervisor.viewers import count_viewers, parse_peers
from engine.loops.windows import Windows

NOON = 1_764_072_000
"""A moment that begins a step of every window."""


def points_of(rows: list[dict[str, Any]], window: str) -> list[list[float | None]]:
    return [point for row in rows if row["window"] == window for point in row["points"]]


def test_the_finest_window_has_every_sample_and_a_minute_its_mean() -> None:
    windows = Windows("domain", ("cpu_percent", "viewers"))
    rows = []
    for at in range(0, 65, 5):
        rows += windows.add("one", NOON + at, {"cpu_percent": float(at), "viewers": None})
    assert points_of(rows, "10m")[0] == [NOON, 0.0, None]
    assert len(points_of(rows, "10m")) == 13
    assert points_of(rows, "24h") == [[NOON, 27.5, None]], "the mean of 0, 5 … 55; nobody counted"
    assert points_of(rows, "30d") == []


def test_a_guest_that_ended_leaves_the_minutes_it_had() -> None:
    windows = Windows("domain", ("cpu_percent",))
    windows.add("one", NOON, {"cpu_percent": 4.0})
    windows.add("two", NOON, {"cpu_percent": 8.0})
    left = windows.keep({"two"})
    assert points_of(left, "24h") == points_of(left, "30d") == [[NOON, 4.0]]
    assert {row["domain"] for row in left} == {"one"}
    assert windows.keep({"two"}) == []


def test_a_row_is_of_one_subject_and_stretch_and_names_its_metrics() -> None:
    windows = Windows("hypervisor", ("domains",))
    (row,) = windows.add("h1", NOON + 121, {"domains": 3})
    assert row == {
        "id": f"10m/{NOON + 120:012d}/h1",
        "hypervisor": "h1",
        "window": "10m",
        "metrics": ["domains"],
        "points": [[NOON + 121, 3]],
    }


def test_keys_read_hold_the_whole_window_and_expired_ones_nothing_of_it() -> None:
    for window in WINDOWS.values():
        now = NOON + 4321
        ids = list(window.ids_since("one", now))
        first, end = window.expired_ids(now)
        assert window.row_id(window.chunk_of(now), "one") == ids[-1]
        assert window.row_id(window.chunk_of(now - window.keep_s), "one") == ids[0]
        assert all(not first <= key < end for key in ids)
        assert first <= window.row_id(window.chunk_of(now - window.keep_s) - 1, "one") < end
        assert len(ids) <= 40, "a window is read by a few keys"


def test_viewers_are_the_connections_that_are_established() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 00000000:170D 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n"
        "   1: 0100007F:170D 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0\n"
        "   2: 0100007F:C350 0100007F:170D 01 00000000:00000000 00:00000000 00000000 0\n"
        "   3: 0100007F:170D 0100007F:C352 01 00000000:00000000 00:00000000 00000000 0\n"
        "   4: 0100007F:170D 0100007F:C354 06 00000000:00000000 00:00000000 00000000 0\n"
        "  sl  local_address                         remote_address   st\n"
        "   0: 0000000000000000FFFF00000A00000A:170E 0000000000000000FFFF00000500000A:9C40 01 0\n"
        "   1: 0000000000000000FFFF00000A00000A:170E 0000000000000000FFFF00000500000A:9C42 01 0\n"
        "   2: broken\n"
    )
    peers = parse_peers(table)
    assert count_viewers(peers, 5901, None) == 2, "listening and closing ones do not look"
    assert count_viewers(peers, None, 5902) == 1, "one SPICE viewer has several channels"
    assert count_viewers(peers, 5901, 5902) == 3
    assert count_viewers(peers, 5999, None) == count_viewers({}, 5901, None) == 0
