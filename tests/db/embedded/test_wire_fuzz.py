"""Arbitrary input on the wire: each message is answered, none is a fault, nobody else notices."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.embedded.registry import TERMS
from tests.db.embedded.conftest import r
from tests.db.embedded.wire_client import V1_0, WireClient
from tests.servers import EmbeddedServer

pytestmark = pytest.mark.embedded_only("sends what no server but a test's own should be sent")

START, STOP, NOREPLY_WAIT, SERVER_INFO = 1, 3, 4, 5
PARTIAL, CLIENT_ERROR, INTERNAL = 3, 16, 1000000
KINDS = {1, 2, 3, 4, 5, 16, 17, 18}
TABLE = [15, ["fuzzed"]]
OPTION_NAMES = ["index", "conflict", "multi", "default", "squash", "emit", "return_changes"]


@pytest.fixture(scope="module")
def wire(embedded: EmbeddedServer) -> Iterator[WireClient]:
    """One connection for all examples, to a server with a table `fuzzed`."""
    connection = r.connect(port=embedded.port)
    r.table_create("fuzzed", durability="soft").run(connection)
    r.table("fuzzed").insert([{"id": i, "n": i} for i in range(3)]).run(connection)
    with WireClient(embedded.port) as client:
        assert client.shake()["success"]
        yield client


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
)
leaves = (
    scalars | st.just(TABLE) | st.just([16, [TABLE, 1]]) | st.just([10, [1]]) | st.just([2, [1, 2]])
)


def calls(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    code = st.sampled_from([2, 3, *sorted(TERMS)]) | st.integers(-1, 250)
    function = inner.map(lambda body: [69, [[2, [1]], body]])
    arguments = st.lists(inner | function, max_size=4)
    options = st.dictionaries(
        st.sampled_from(OPTION_NAMES) | st.text(max_size=3), inner, max_size=2
    )
    return (
        st.tuples(code, arguments).map(list)
        | st.tuples(code, arguments, options).map(list)
        | st.dictionaries(st.text(max_size=3) | st.just("$reql_type$"), inner, max_size=2)
    )


terms = st.recursive(leaves, calls, max_leaves=10)
option_names = ["db", "durability", "array_limit", "time_format", "max_batch_rows", "profile", "x"]
options = st.dictionaries(st.sampled_from(option_names), terms, max_size=2)
tokens = iter(range(1, 1_000_000))


def answer_to(wire: WireClient, message: Any) -> dict[str, Any]:
    """What comes back for this message; a stream is stopped."""
    token = next(tokens)
    wire.ask(token, message)
    answered, answer = wire.answer()
    assert answered == token
    if answer["t"] == PARTIAL:
        wire.ask(token, [STOP])
        while wire.answer()[1]["t"] == PARTIAL:
            pass
    return answer


@settings(max_examples=300)
@given(terms, options)
def test_any_query_is_answered_and_none_is_a_fault(
    wire: WireClient, term: Any, global_options: dict[str, Any]
) -> None:
    answer = answer_to(wire, [START, term, global_options])
    assert answer["t"] in KINDS
    assert answer.get("e") != INTERNAL, answer["r"]


@given(
    st.binary(max_size=40) | st.recursive(scalars, st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_frame_is_answered(wire: WireClient, body: bytes) -> None:
    if body.lstrip().startswith((b"[2", b"[3", b"[4", b"[5")):
        return  # these are about other queries, or have answers of their own
    assert answer_to(wire, body)["t"] in KINDS


@pytest.mark.parametrize("depth", [100, 300, 3000, 200_000])
def test_nesting_without_end_is_refused(wire: WireClient, depth: int) -> None:
    body = b"[1," + b"[2,[" * depth + b"1" + b"]]" * depth + b"]"
    assert answer_to(wire, body)["t"] in KINDS
    assert answer_to(wire, [START, 5])["r"] == [5]


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_handshake_ends_or_waits(
    embedded: EmbeddedServer, wire: WireClient, data: bytes
) -> None:
    for start in (b"", struct.pack("<I", V1_0)):
        with WireClient(embedded.port) as client:
            client.send(start + data)
    assert answer_to(wire, [START, 5])["r"] == [5]
