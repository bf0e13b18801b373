"""The opening of a connection: protocol version V1_0 and SCRAM-SHA-256.

The client sends a magic number and a first JSON message, zero-terminated; two more messages
each way prove that it knows the password and that we do. What is wrong is told as RethinkDB
tells it: plain text for a wrong magic number, JSON with an error code after that. A
`Handshake` is fed bytes by the connection until it is `done` (then `user` is known) or `failed`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass
from typing import Any, Final

import orjson

V1_0: Final = 0x34C2BDC3
_OLDER: Final = frozenset({0x3F61BA36, 0x723081E1, 0x5F75E83E, 0x400C2D20})
SERVER_VERSION: Final = "2.4.4"
LARGEST_MESSAGE: Final = 16 * 1024
ITERATIONS: Final = 4096


@dataclass(frozen=True, slots=True)
class Credential:
    """What is kept of a password: enough to check a proof, not to make one."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    @classmethod
    def of_password(cls, password: str, iterations: int = ITERATIONS) -> Credential:
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        return cls(
            salt,
            iterations,
            hashlib.sha256(client_key).digest(),
            hmac.digest(salted, b"Server Key", "sha256"),
        )

    def is_of(self, password: str) -> bool:
        """True if this was made of that password."""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, self.iterations)
        return hmac.compare_digest(hmac.digest(salted, b"Server Key", "sha256"), self.server_key)

    def as_row(self) -> dict[str, Any]:
        return {
            "salt": base64.b64encode(self.salt).decode(),
            "iterations": self.iterations,
            "stored_key": base64.b64encode(self.stored_key).decode(),
            "server_key": base64.b64encode(self.server_key).decode(),
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Credential:
        decode = base64.b64decode
        return cls(
            decode(row["salt"]),
            int(row["iterations"]),
            decode(row["stored_key"]),
            decode(row["server_key"]),
        )


class Refused(Exception):
    """The handshake failed; `reply` is sent before the connection is closed."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


def _refusal(code: int, message: str) -> Refused:
    body = {"success": False, "error": message, "error_code": code}
    return Refused(orjson.dumps(body) + b"\0")


def _plain_refusal(message: str) -> Refused:
    return Refused(f"ERROR: {message}\n".encode() + b"\0")


class Handshake:
    """One connection's opening, fed as bytes arrive."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials  # user name -> Credential | None
        self._step = self._read_magic
        self._first = ""
        self._nonce = ""
        self._credential: Credential | None = None
        self.user = ""
        self.done = False

    def feed(self, buffer: bytearray) -> bytes:
        """What to send after consuming as much of the buffer as belongs to the handshake."""
        replies: list[bytes] = []
        while not self.done:
            try:
                reply = self._step(buffer)
            except Refused as refused:
                raise Refused(b"".join(replies) + refused.reply) from None
            if reply is None:
                break
            replies.append(reply)
        return b"".join(replies)

    def _read_magic(self, buffer: bytearray) -> bytes | None:
        if len(buffer) < 4:
            return None
        (magic,) = struct.unpack_from("<I", buffer)
        if magic in _OLDER:
            raise _plain_refusal(
                "This server speaks protocol V1_0 only; use a 2.3 or newer driver."
            )
        if magic != V1_0:
            raise _plain_refusal(
                "Received an unsupported protocol version. This port is for RethinkDB queries. "
                "Does your client driver version not match the server?"
            )
        del buffer[:4]
        self._step = self._read_first
        return (
            orjson.dumps(
                {
                    "success": True,
                    "min_protocol_version": 0,
                    "max_protocol_version": 0,
                    "server_version": SERVER_VERSION,
                }
            )
            + b"\0"
        )

    @staticmethod
    def _message(buffer: bytearray) -> dict[str, Any] | None:
        end = buffer.find(0)
        if end < 0:
            if len(buffer) > LARGEST_MESSAGE:
                raise _refusal(9, "Invalid json object: message too long.")
            return None
        text = bytes(buffer[:end])
        del buffer[: end + 1]
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        if type(message) is not dict:
            raise _refusal(9, "Invalid json object.")
        return message

    def _read_first(self, buffer: bytearray) -> bytes | None:
        message = self._message(buffer)
        if message is None:
            return None
        version = message.get("protocol_version")
        if type(version) is not int:
            raise _refusal(1, "Expected a number for `protocol_version`.")
        if version != 0:
            raise _refusal(2, f"Unsupported `protocol_version`: {version}.")
        method = message.get("authentication_method")
        if type(method) is not str:
            raise _refusal(3, "Expected a string for `authentication_method`.")
        if method != "SCRAM-SHA-256":
            raise _refusal(4, "Unsupported `authentication_method`.")
        text = message.get("authentication")
        if type(text) is not str:
            raise _refusal(5, "Expected a string for `authentication`.")
        return self._answer_first(text)

    def _answer_first(self, text: str) -> bytes:
        if not text.startswith("n,,"):
            raise _refusal(10, "Channel binding is not supported.")
        self._first = text[3:]
        fields = _fields(self._first)
        if "n" not in fields or "r" not in fields:
            raise _refusal(11, "Invalid encoding: expected a user name and a nonce.")
        self.user = fields["n"].replace("=2C", ",").replace("=3D", "=")
        credential = self._credentials(self.user)
        if credential is None:
            raise _refusal(17, "Unknown user")
        self._credential = credential
        self._nonce = fields["r"] + base64.b64encode(os.urandom(18)).decode()
        self._step = self._read_proof
        salt = base64.b64encode(credential.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={credential.iterations}"
        return _success(self._server_first)

    def _read_proof(self, buffer: bytearray) -> bytes | None:
        message = self._message(buffer)
        if message is None:
            return None
        text = message.get("authentication")
        if type(text) is not str:
            raise _refusal(5, "Expected a string for `authentication`.")
        fields = _fields(text)
        credential = self._credential
        if credential is None or fields.get("r") != self._nonce or fields.get("c") != "biws":
            raise _refusal(12, "Invalid nonce")
        bare = text.rpartition(",p=")[0]
        signed = f"{self._first},{self._server_first},{bare}".encode()
        try:
            proof = base64.b64decode(fields.get("p", ""), validate=True)
        except (binascii.Error, ValueError):
            raise _refusal(11, "Invalid encoding") from None
        signature = hmac.digest(credential.stored_key, signed, "sha256")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
        if len(proof) != 32 or not hmac.compare_digest(
            hashlib.sha256(client_key).digest(), credential.stored_key
        ):
            raise _refusal(12, "Wrong password")
        self.done = True
        verifier = hmac.digest(credential.server_key, signed, "sha256")
        return _success("v=" + base64.b64encode(verifier).decode())


def _success(authentication: str) -> bytes:
    return orjson.dumps({"success": True, "authentication": authentication}) + b"\0"


def _fields(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name: value for name, equals, value in pairs if equals}
