"""What a wrong, broken or vanishing client is told, and that nobody else notices."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from rethinkdb.errors import ReqlAuthError

from tests.db.embedded.conftest import r
from tests.db.embedded.wire_client import V1_0, WireClient
from tests.servers import EmbeddedServer, wait_until

pytestmark = pytest.mark.embedded_only("a server whose connections and jobs nobody else uses")

START, CONTINUE, STOP, NOREPLY_WAIT, SERVER_INFO = 1, 2, 3, 4, 5
ATOM, SEQUENCE, PARTIAL, WAIT_COMPLETE, INFO = 1, 2, 3, 4, 5
CLIENT_ERROR, COMPILE_ERROR, RUNTIME_ERROR = 16, 17, 18
RANGE = [173, []]


@pytest.fixture
def raw(embedded: EmbeddedServer) -> Iterator[WireClient]:
    """A raw connection."""
    with WireClient(embedded.port) as client:
        yield client


@pytest.fixture
def wire(raw: WireClient) -> WireClient:
    """A raw connection that is through the handshake."""
    assert raw.shake()["success"]
    return raw


# --- handshake ----------------------------------------------------------------------------


def test_a_wrong_magic_number_is_told_in_plain_text(raw: WireClient) -> None:
    raw.send(b"GET / HTTP/1.1\r\n\r\n")
    assert raw.read_text().startswith("ERROR: Received an unsupported protocol version.")
    assert raw.is_closed()


@pytest.mark.parametrize("magic", [0x3F61BA36, 0x723081E1, 0x5F75E83E, 0x400C2D20])
def test_older_protocols_are_refused(raw: WireClient, magic: int) -> None:
    raw.send(struct.pack("<I", magic))
    assert raw.read_text().startswith("ERROR: ")
    assert raw.is_closed()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"not json", 9),
        (b"[1, 2]", 9),
        (b'{"authentication_method": "SCRAM-SHA-256", "authentication": "n,,n=admin,r=x"}', 1),
        (b'{"protocol_version": 7}', 2),
        (b'{"protocol_version": 0}', 3),
        (b'{"protocol_version": 0, "authentication_method": "PLAIN"}', 4),
        (b'{"protocol_version": 0, "authentication_method": "SCRAM-SHA-256"}', 5),
    ],
)
def test_a_wrong_first_message_is_told_with_its_code(
    raw: WireClient, message: bytes, code: int
) -> None:
    raw.send(struct.pack("<I", V1_0) + message + b"\0")
    hello = raw.read_message()
    assert hello["success"]
    assert hello["min_protocol_version"] == hello["max_protocol_version"] == 0
    refusal = raw.read_message()
    assert (refusal["success"], refusal["error_code"]) == (False, code)
    assert raw.is_closed()


def test_a_handshake_without_end_is_cut_off(raw: WireClient) -> None:
    raw.send(struct.pack("<I", V1_0) + b"x" * 100_000)
    raw.read_message()
    assert raw.read_message()["error_code"] == 9
    assert raw.is_closed()


def test_a_wrong_password_is_refused(raw: WireClient) -> None:
    refusal = raw.shake(password="guess")
    assert (refusal["error"], refusal["error_code"]) == ("Wrong password", 12)
    assert raw.is_closed()


def test_an_unknown_user_is_refused(raw: WireClient) -> None:
    refusal = raw.shake(user="nobody")
    assert (refusal["error"], refusal["error_code"]) == ("Unknown user", 17)
    assert raw.is_closed()


def test_the_driver_sees_an_authentication_error(embedded: EmbeddedServer) -> None:
    with pytest.raises(ReqlAuthError, match="Wrong password"):
        r.connect(port=embedded.port, password="guess")


def test_the_handshake_may_arrive_byte_by_byte(raw: WireClient) -> None:
    original = raw.send

    def send_slowly(data: bytes) -> None:
        for position in range(len(data)):
            original(data[position : position + 1])

    raw.send = send_slowly  # type: ignore[method-assign]
    assert raw.shake()["success"]
    raw.ask(1, [START, 5])
    assert raw.answer() == (1, {"t": ATOM, "r": [5]})


# --- frames -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"null", b'["x"]', b"[99]", b"[1]"])
def test_a_broken_query_is_a_client_error_and_the_connection_goes_on(
    wire: WireClient, text: bytes
) -> None:
    wire.ask(1, text)
    token, answer = wire.answer()
    assert (token, answer["t"]) == (1, CLIENT_ERROR)
    assert answer["r"] == ["Client is buggy (failed to deserialize query)."]
    wire.ask(2, [START, "still here"])
    assert wire.answer() == (2, {"t": ATOM, "r": ["still here"]})


def test_an_oversized_frame_is_refused_without_reading_it(wire: WireClient) -> None:
    wire.send(struct.pack("<QI", 3, 0xFFFFFFFF))
    token, answer = wire.answer()
    assert (token, answer["t"]) == (3, CLIENT_ERROR)
    assert answer["r"][0].startswith("Query size (4294967295) greater than maximum")
    assert wire.is_closed()


def test_an_unknown_term_is_a_compile_error(wire: WireClient) -> None:
    wire.ask(1, [START, [9999, []]])
    _, answer = wire.answer()
    assert answer["t"] == COMPILE_ERROR


@pytest.mark.parametrize("kind", [CONTINUE])
def test_a_token_nobody_started_is_a_client_error(wire: WireClient, kind: int) -> None:
    wire.ask(77, [kind])
    _, answer = wire.answer()
    assert (answer["t"], answer["r"]) == (CLIENT_ERROR, ["Token 77 not in stream cache."])


def test_a_token_in_use_cannot_be_started_again(wire: WireClient) -> None:
    wire.ask(1, [START, RANGE])
    assert wire.answer()[1]["t"] == PARTIAL
    wire.ask(1, [START, 5])
    assert wire.answer()[1]["t"] == CLIENT_ERROR


def test_an_unknown_global_option_is_a_compile_error(wire: WireClient) -> None:
    wire.ask(1, [START, 5, {"durabilty": "soft"}])
    _, answer = wire.answer()
    assert answer["t"] == COMPILE_ERROR
    assert "durabilty" in answer["r"][0]


def test_a_failing_query_says_where(wire: WireClient) -> None:
    wire.ask(1, [START, [24, [1, [27, [1, 0]]]]])  # 1 + 1 / 0
    _, answer = wire.answer()
    assert (answer["t"], answer["e"], answer["b"]) == (RUNTIME_ERROR, 3000000, [1])
    assert answer["r"] == ["Cannot divide by zero."]


def test_server_info_tells_name_and_id(wire: WireClient) -> None:
    wire.ask(4, [SERVER_INFO])
    token, answer = wire.answer()
    assert (token, answer["t"]) == (4, INFO)
    assert set(answer["r"][0]) == {"id", "name", "proxy"}


def test_a_stopped_cursor_is_gone(wire: WireClient) -> None:
    wire.ask(1, [START, RANGE])
    assert wire.answer()[1]["t"] == PARTIAL
    wire.ask(1, [STOP])
    assert wire.answer() == (1, {"t": SEQUENCE, "r": []})
    wire.ask(1, [CONTINUE])
    assert wire.answer()[1]["t"] == CLIENT_ERROR


def test_batches_obey_max_batch_rows(wire: WireClient) -> None:
    wire.ask(1, [START, [173, [7]], {"max_batch_rows": 3}])
    batches = [wire.answer()[1]]
    while batches[-1]["t"] == PARTIAL:
        wire.ask(1, [CONTINUE])
        batches.append(wire.answer()[1])
    assert [batch["r"] for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[-1]["t"] == SEQUENCE


def test_noreply_wait_answers_after_earlier_writes(
    wire: WireClient, embedded: EmbeddedServer
) -> None:
    connection = r.connect(port=embedded.port)
    r.table_create("noreply").run(connection)
    insert = [56, [[15, ["noreply"]], [173, [500]]]]
    mapped = [38, [[173, [500]], [69, [[2, [1]], {"id": [10, [1]]}]]]]
    insert[1] = [[15, ["noreply"]], mapped]
    wire.ask(1, [START, insert, {"noreply": True}])
    wire.ask(2, [NOREPLY_WAIT])
    assert wire.answer() == (2, {"t": WAIT_COMPLETE, "r": []})
    assert r.table("noreply").count().run(connection) == 500


# --- clients that go away -----------------------------------------------------------------


def connections_of(port: int) -> int:
    connection = r.connect(port=port)
    try:
        stats = r.db("rethinkdb").table("stats").get(["cluster"]).run(connection)
        return int(stats["query_engine"]["client_connections"])
    finally:
        connection.close()


def test_abandoned_connections_and_their_queries_are_cleaned(embedded: EmbeddedServer) -> None:
    before = connections_of(embedded.port)
    admin = r.connect(port=embedded.port)
    r.table_create("watched").run(admin)
    clients = [WireClient(embedded.port) for _ in range(20)]
    for client in clients:
        client.shake()
        client.ask(1, [START, [152, [[15, ["watched"]]]]])
        assert client.answer()[1]["t"] == PARTIAL
        client.ask(2, [START, [43, [[173, [10**12]]]]])  # counts for ever
    for client in clients:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
    wait_until(lambda: connections_of(embedded.port) <= before + 1, 20, "connections are gone")
    jobs = r.db("rethinkdb").table("jobs").count()
    wait_until(lambda: jobs.run(admin) <= 1, 20, "their queries are gone")
    stats = r.db("rethinkdb").table("stats").filter({"table": "watched"}).nth(0).run(admin)
    assert stats["query_engine"]["feeds"] == 0


def test_half_open_handshakes_do_not_hold_up_others(embedded: EmbeddedServer) -> None:
    idle = [WireClient(embedded.port) for _ in range(200)]
    for client in idle[::2]:
        client.send(struct.pack("<I", V1_0))
    with WireClient(embedded.port) as client:
        assert client.shake()["success"]
    for client in idle:
        client.socket.close()


def test_a_client_that_asks_without_end_waits_for_its_turn(embedded: EmbeddedServer) -> None:
    admin = r.connect(port=embedded.port)
    r.table_create("asked").run(admin)
    with WireClient(embedded.port) as eager, WireClient(embedded.port) as other:
        eager.shake()
        other.shake()
        for token in range(20_000):
            eager.ask(token, [START, [56, [[15, ["asked"]], {"id": token}]]])
        other.ask(1, [START, 5])
        assert other.answer() == (1, {"t": ATOM, "r": [5]})
        answered = {eager.answer()[0] for _ in range(20_000)}
    assert answered == set(range(20_000))
    assert r.table("asked").count().run(admin) == 20_000


def test_a_client_that_does_not_read_holds_up_nobody(embedded: EmbeddedServer) -> None:
    with WireClient(embedded.port) as lazy, WireClient(embedded.port) as other:
        lazy.shake()
        other.shake()
        for token in range(50):  # some megabytes of answers nobody reads
            lazy.ask(token, [START, [51, [[173, [60_000]], "ARRAY"]]])
        other.ask(1, [START, 5])
        assert other.answer() == (1, {"t": ATOM, "r": [5]})
