"""Networks of their own for tests: a pretend machine, something outside it, and a guest on a
host's bridge.

Each `Network` is a network namespace kept open by a process that ends with the test. They are
joined by virtual cables, so what is tested are real packets through the real bridge, packet
filter and slirp4netns, and nothing of the machine that runs the tests is touched.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tests.lab.host import ENTER_ALL, LabHost

COMMAND_TIMEOUT_S = 30
LISTEN = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64)
print("listening", flush=True)
while True:
    client, _ = server.accept()
    client.sendall(sys.argv[2].encode())
    client.close()
"""
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as c:
        c.settimeout(float(sys.argv[3]))
        print(c.recv(100).decode())
except OSError as error:
    print("no answer:", error)
"""


class Network:
    """A network namespace. `enter` is the command prefix that runs something in it."""

    def __init__(self, inside: LabHost | None = None) -> None:
        self._outer = [] if inside is None else enter_host(inside)
        self._holder = subprocess.Popen(
            [*self._outer, "unshare", "--net", "sh", "-c", "echo $$; exec cat > /dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self.pid = int(self._holder.stdout.readline())
        self._servers: list[subprocess.Popen[bytes]] = []
        self.run("ip", "link", "set", "lo", "up")

    @property
    def enter(self) -> list[str]:
        return [*self._outer, "nsenter", "-t", str(self.pid), "--net"]

    def run(self, *argv: str) -> str:
        return run(*self.enter, *argv)

    def serve(self, port: int, greeting: str) -> None:
        """Greet whoever connects to the port, on every address."""
        server = subprocess.Popen(
            [*self.enter, sys.executable, "-c", LISTEN, str(port), greeting], stdout=subprocess.PIPE
        )
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"

    def ask(self, address: str, port: int, timeout_s: float = 3.0) -> str:
        """What is said there, or why nothing is."""
        argv = (sys.executable, "-c", ASK, address, str(port), str(timeout_s))
        return self.run(*argv).strip()

    def close(self) -> None:
        for process in (*self._servers, self._holder):
            process.kill()
            process.wait(COMMAND_TIMEOUT_S)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def join(one: Network, one_address: str, other: Network, other_address: str) -> None:
    """A cable between two networks; addresses with their prefix length."""
    cable = ("link", "add", "cable0", "type", "veth", "peer", "name", "cable0")
    one.run("ip", *cable, "netns", str(other.pid))
    for network, address in ((one, one_address), (other, other_address)):
        network.run("ip", "address", "add", address, "dev", "cable0")
        network.run("ip", "link", "set", "cable0", "up")


def plug_in(
    guest: Network,
    host: LabHost,
    address: str,
    gateway: str | None,
    *,
    bridge: str = "guests0",
    port: str = "guestport",
) -> None:
    """Put a network made with `inside=host` on a bridge of the host, as a guest's card would be."""
    cable = ("link", "add", port, "type", "veth", "peer", "name", "eth0")
    host.exec(["ip", *cable, "netns", str(guest.pid)])
    host.exec(["ip", "link", "set", port, "master", bridge, "up"])
    guest.run("ip", "address", "add", address, "dev", "eth0")
    guest.run("ip", "link", "set", "eth0", "up")
    if gateway is not None:
        guest.run("ip", "route", "add", "default", "via", gateway)


@contextmanager
def serve_on(host: LabHost, port: int, greeting: str) -> Iterator[None]:
    """The host itself greets whoever connects to the port, on every address of its guests' side."""
    argv = [*enter_host(host), sys.executable, "-c", LISTEN, str(port), greeting]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        try:
            yield
        finally:
            server.kill()


def enter_host(host: LabHost) -> list[str]:
    return ["nsenter", "-t", str(host.init_pid), *ENTER_ALL]


def run(*argv: str) -> str:
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
    ).stdout
