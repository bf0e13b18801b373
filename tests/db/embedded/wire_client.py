"""A client that speaks the protocol byte by byte, to say what a driver never would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import struct
from typing import Any

V1_0 = 0x34C2BDC3


class WireClient:
    """One raw connection; every read has a deadline."""

    def __init__(self, port: int, timeout_s: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._rest = b""

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_json(self, message: Any) -> None:
        self.send(json.dumps(message).encode() + b"\0")

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._rest += data

    def read_message(self) -> Any:
        """The next zero-terminated JSON message of the handshake."""
        return json.loads(self.read_text())

    def read_text(self) -> str:
        while b"\0" not in self._rest:
            self._more()
        text, _, self._rest = self._rest.partition(b"\0")
        return text.decode()

    def is_closed(self) -> bool:
        """True once the server has closed; fails by timeout if it does not."""
        try:
            while True:
                self._more()
        except (EOFError, ConnectionResetError):
            return True

    def shake(self, user: str = "admin", password: str = "") -> dict[str, Any]:
        """The whole handshake; the server's last message, or the one that refused."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n={user},r={nonce}"
        self.send(struct.pack("<I", V1_0))
        self.send_json(
            {
                "protocol_version": 0,
                "authentication_method": "SCRAM-SHA-256",
                "authentication": "n,," + first,
            }
        )
        self.read_message()
        answer = self.read_message()
        if not answer["success"]:
            return dict(answer)
        fields = dict(part.split("=", 1) for part in answer["authentication"].split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        bare = f"c=biws,r={fields['r']}"
        signed = f"{first},{answer['authentication']},{bare}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.send_json({"authentication": f"{bare},p={base64.b64encode(proof).decode()}"})
        return dict(self.read_message())

    def ask(self, token: int, body: Any) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send(struct.pack("<QI", token, len(text)) + text)

    def answer(self) -> tuple[int, dict[str, Any]]:
        """The next (token, response)."""
        while len(self._rest) < 12:
            self._more()
        token, length = struct.unpack_from("<QI", self._rest)
        while len(self._rest) < 12 + length:
            self._more()
        body = json.loads(self._rest[12 : 12 + length])
        self._rest = self._rest[12 + length :]
        return token, body
