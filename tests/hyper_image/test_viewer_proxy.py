"""The viewer proxy with real tickets, a real console and every way to be refused."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from tests.lab import Lab, LabHost, tiny_guest, wait_until
from webapp.viewers import tickets

DOMAIN = "11111111-2222-4333-8444-555555555555"
RFB = b"RFB 003.008\n"
VIEWERS = 24  # QEMU keeps 32 at most on one console
TIMEOUT_S = 20


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    """One host with a guest's console, for all tests of this file: a refusal changes nothing."""
    with Lab(tmp_path_factory.mktemp("viewer")) as lab:
        yield lab.start("h1")


@pytest.fixture(scope="module")
def console_port(host: LabHost) -> int:
    """A guest's VNC port on the host's loopback."""
    template = tiny_guest.build(host.storage_root / "templates" / "tiny.qcow2")
    xml = tiny_guest.domain_xml("one", host.make_disk(template, "one"), uuid=DOMAIN)
    host.exec(["virsh", "-q", "create", "/dev/stdin"], input=xml)
    display = host.exec(["virsh", "-q", "domdisplay", DOMAIN]).stdout.strip()
    return 5900 + int(display.rpartition(":")[2])


@pytest.fixture(scope="module")
def keys(host: LabHost, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """webapp's folder of private keys, with one whose public half the host knows."""
    folder = tmp_path_factory.mktemp("keys")
    new_key(folder, "known", host.ticket_keys)
    return folder


def new_key(folder: Path, key_id: str, public: Path | None = None) -> JWK:
    key = JWK.generate(kty="EC", crv="P-256")
    private = folder / f"{key_id}{tickets.SUFFIX}"
    private.write_bytes(key.export_to_pem(private_key=True, password=None))
    if public is not None:
        (public / f"{key_id}.pem").write_bytes(key.export_to_pem())
    return key


def good_claims(console_port: int, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        **{"aud": "viewer", "hyp": "h1", "dom": DOMAIN, "host": "127.0.0.1", "port": console_port},
        **{"iat": now, "nbf": now, "exp": now + 30, "jti": secrets.token_urlsafe(16)},
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def sign(keys: Path, claims: dict[str, Any], key_id: str = "known") -> str:
    key = JWK.from_pem((keys / f"{key_id}{tickets.SUFFIX}").read_bytes())
    token = JWT(header={"alg": "ES256", "kid": key_id}, claims=claims)
    token.make_signed_token(key)
    return str(token.serialize())


def connect(host: LabHost, token: str) -> websocket.WebSocket:
    return websocket.create_connection(
        f"ws://127.0.0.1:{host.viewer_port}/websockify?token={token}",
        subprotocols=["binary"],
        timeout=TIMEOUT_S,
    )


def refusal(host: LabHost, token: str) -> str:
    """Why a token is refused; fails where it is not, or not with 403."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(host, token)
    assert refused.value.status_code == 403
    return refused.value.resp_body.decode()


def test_webapps_ticket_opens_the_console(host: LabHost, keys: Path, console_port: int) -> None:
    ticket = tickets.sign(keys, hypervisor="h1", domain=DOMAIN, port=console_port, life_s=30)
    viewer = connect(host, ticket.token)
    assert viewer.subprotocol == "binary"
    assert viewer.recv() == RFB
    viewer.close()


def test_a_ticket_is_good_for_one_connection(host: LabHost, keys: Path, console_port: int) -> None:
    token = sign(keys, good_claims(console_port))
    connect(host, token).close()
    assert "used already" in refusal(host, token)


def test_of_many_connections_with_one_ticket_a_single_one_succeeds(
    host: LabHost, keys: Path, console_port: int
) -> None:
    token = sign(keys, good_claims(console_port))
    answers: list[str] = []

    def attempt() -> None:
        try:
            connect(host, token).close()
            answers.append("opened")
        except websocket.WebSocketBadStatusException:
            answers.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert sorted(answers) == ["opened"] + ["refused"] * 7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"aud": "session"}, "not for a viewer", id="another audience"),
        pytest.param({"hyp": "h2"}, "another hypervisor", id="another hypervisor"),
        pytest.param({"host": "10.0.0.1"}, "does not name a console", id="another address"),
        pytest.param({"port": 22}, "does not name a console", id="sshd"),
        pytest.param({"port": "5900"}, "no proper 'port'", id="a port that is text"),
        pytest.param({"exp": None}, "no proper 'exp'", id="no end"),
        pytest.param({"exp": int(time.time()) + 3600}, "too long", id="too long a life"),
        pytest.param({"iat": 1, "exp": 20}, "expired", id="expired"),
        pytest.param({"nbf": int(time.time()) + 3600}, "not valid yet", id="not yet"),
        pytest.param({"jti": None}, "no number of its own", id="no number"),
        pytest.param({"dom": "../../etc"}, "names no desktop", id="no desktop"),
    ],
)
def test_a_signed_ticket_with_a_wrong_claim_is_refused(
    host: LabHost, keys: Path, console_port: int, changes: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(host, sign(keys, good_claims(console_port, **changes)))


def test_a_ticket_expires_to_the_second(host: LabHost, keys: Path, console_port: int) -> None:
    now = int(time.time())
    token = sign(keys, good_claims(console_port, iat=now - 5, exp=now + 1))
    wait_until(lambda: time.time() > now + 1, TIMEOUT_S)
    assert "expired" in refusal(host, token)


def test_what_is_not_signed_by_a_known_key_is_refused(
    host: LabHost, keys: Path, console_port: int
) -> None:
    claims = good_claims(console_port)
    new_key(keys, "stranger")
    assert "unknown here" in refusal(host, sign(keys, claims, "stranger"))
    genuine, forged = sign(keys, claims), sign(keys, claims | {"port": 6000})
    mixed = ".".join([*genuine.split(".")[:1], forged.split(".")[1], genuine.split(".")[2]])
    assert "not genuine" in refusal(host, mixed)
    for garbage in ("abc", "a.b.c", "..", "%00", "x" * 5000):
        assert refusal(host, garbage)
    assert "no viewer ticket" in refusal(host, "")


def test_the_public_key_cannot_be_used_as_a_shared_secret(
    host: LabHost, keys: Path, console_port: int
) -> None:
    public = (host.ticket_keys / "known.pem").read_bytes()
    shared = JWK(kty="oct", k=JWK.from_password(public.decode())["k"])
    token = JWT(header={"alg": "HS256", "kid": "known"}, claims=good_claims(console_port))
    token.make_signed_token(shared)
    assert "not genuine" in refusal(host, token.serialize())


def test_a_key_counts_from_when_it_is_put_there_until_it_is_taken_away(
    host: LabHost, keys: Path, console_port: int
) -> None:
    new_key(keys, "later", host.ticket_keys)
    connect(host, sign(keys, good_claims(console_port), "later")).close()
    (host.ticket_keys / "later.pem").unlink()
    assert "unknown here" in refusal(host, sign(keys, good_claims(console_port), "later"))


def test_no_log_holds_a_token(host: LabHost, keys: Path, console_port: int) -> None:
    good, bad = (
        sign(keys, good_claims(console_port)),
        sign(keys, good_claims(console_port, hyp="x")),
    )
    connect(host, good).close()
    refusal(host, bad)
    with socket.create_connection(("127.0.0.1", host.viewer_port), timeout=TIMEOUT_S) as client:
        client.sendall(f"GET /websockify?token={good} NONSENSE\r\n\r\n".encode())
        client.recv(100)
    log = host.settings.data / "logs" / "viewer.log"
    wait_until(lambda: "another hypervisor" in log.read_text(), TIMEOUT_S)
    everything = "".join(f.read_text(errors="replace") for f in log.parent.iterdir())
    for token in (good, bad):
        assert not any(part in everything for part in token.split("."))
        assert not any(token in arguments for arguments in command_lines())


def test_many_viewers_at_once(host: LabHost, keys: Path, console_port: int) -> None:
    """Far more than sixteen; VNC lets any number look at one console until they log in."""
    viewers = [connect(host, sign(keys, good_claims(console_port))) for _ in range(VIEWERS)]
    assert [viewer.recv() for viewer in viewers] == [RFB] * VIEWERS
    notes = host.exec(["ls", "/run/isard/viewers"]).stdout.split()
    assert len(notes) == VIEWERS
    for viewer in viewers:
        viewer.close()
    wait_until(lambda: not host.exec(["ls", "/run/isard/viewers"]).stdout, TIMEOUT_S)


def test_cutting_a_viewer_closes_its_websocket(
    host: LabHost, keys: Path, console_port: int
) -> None:
    viewer = connect(host, sign(keys, good_claims(console_port)))
    assert viewer.recv() == RFB
    note = host.exec(["ls", "/run/isard/viewers"]).stdout.split()[0]
    host.exec(["kill", note.removesuffix(".json")])
    opcode, reason = viewer.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    assert b"closed by the server" in reason


def test_a_console_that_is_gone_ends_the_viewer(host: LabHost, keys: Path) -> None:
    viewer = connect(host, sign(keys, good_claims(5998)))
    opcode, _ = viewer.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE


def test_it_says_that_it_is_well_and_serves_nothing_else(host: LabHost) -> None:
    assert get(host, "/healthz") == (200, "ok\n")
    assert get(host, "/../../etc/passwd")[0] == 404
    assert get(host, "/")[0] == 404


def test_it_runs_without_rights(host: LabHost) -> None:
    pid = host.exec(["pgrep", "-f", "viewer-proxy"]).stdout.split()[0]
    status = host.exec(["cat", f"/proc/{pid}/status"]).stdout
    assert "CapEff:\t0000000000000000" in status


def get(host: LabHost, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", host.viewer_port, timeout=TIMEOUT_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def command_lines() -> list[str]:
    """Of every process, as anybody on the machine may read them; without those of this test."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                found.append((process / "cmdline").read_text(errors="replace"))
            except OSError:
                continue
    return found
