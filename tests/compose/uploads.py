"""Files uploaded through the portal in pieces, as a browser does, and a piece that is cut."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import requests

from tests.compose.stack import Stack
from tests.e2e.product import Api
from tests.servers import wait_until


def describe_upload(name: str, size: int) -> dict[str, object]:
    return {"name": name, "kind": "iso", "source": {"upload": True, "size": size}}


def send_piece(api: Api, media_id: str, offset: int, piece: bytes) -> requests.Response:
    return api.session.put(
        f"{api.url}/media/{media_id}/upload",
        data=piece,
        headers={"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"},
        timeout=120,
    )


def cut_piece(stack: Stack, api: Api, media_id: str, piece: bytes, after: int) -> int:
    """The connection breaks in the middle of a piece. How much has arrived when it is noticed."""
    head = (
        f"PUT /api/v1/media/{media_id}/upload HTTP/1.1\r\nHost: isard\r\nUpload-Offset: 0\r\n"
        f"Authorization: {api.session.headers['Authorization']}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(piece)}\r\n\r\n"
    )
    context = ssl.create_default_context(cafile=str(api.session.verify))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", stack.https_port), timeout=30) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(head.encode() + piece[:after])
    seen = {"offset": 0}

    def is_noticed() -> bool:
        """The next piece is taken where the last one ended, once that one is given up."""
        answer = api.session.get(f"{api.url}/media/{media_id}/upload", timeout=20).json()
        before, seen["offset"] = seen["offset"], answer["offset"]
        return bool(before and before == answer["offset"])

    wait_until(is_noticed, 60, "the cut is noticed", every_s=1)
    wait_until(
        lambda: send_piece(api, media_id, seen["offset"], b"").status_code == 200, 60, "free", 0.5
    )
    return seen["offset"]


def observed(api: Api, media_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/media/{media_id}")["observed"]
    return found
