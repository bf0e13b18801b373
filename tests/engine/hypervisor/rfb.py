"""Asks a VNC server for entry: `python rfb.py PORT PASSWORD` prints `in`, or `out`.

A program of its own because consoles listen in the host's network, where only a process inside the
host can reach them. An empty password tries to enter without one.
"""

from __future__ import annotations

import socket
import struct
import sys

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

NO_PASSWORD, PASSWORD = 1, 2


def is_let_in(port: int, password: str) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as server:
        read_exactly(server, 12)
        server.sendall(b"RFB 003.008\n")
        offered = read_exactly(server, read_exactly(server, 1)[0])
        if not password:
            return NO_PASSWORD in offered
        if PASSWORD not in offered:
            return False
        server.sendall(bytes([PASSWORD]))
        server.sendall(answer(read_exactly(server, 16), password))
        (refused,) = struct.unpack(">I", read_exactly(server, 4))
        return not refused


def answer(challenge: bytes, password: str) -> bytes:
    """DES with the password as key, each byte's bits in reverse: RFB's own way."""
    key = password.encode().ljust(8, b"\0")[:8]
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    encryptor = Cipher(TripleDES(mirrored * 3), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(challenge) + encryptor.finalize()


def read_exactly(server: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = server.recv(count - len(data))
        if not piece:
            raise EOFError("the server ended the conversation")
        data += piece
    return data


if __name__ == "__main__":
    sys.stdout.write("in" if is_let_in(int(sys.argv[1]), sys.argv[2]) else "out")
