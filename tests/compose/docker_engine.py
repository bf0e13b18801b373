"""A Docker engine of the tests' own: in namespaces of its own, on a folder of its own.

An engine that the machine may already have, with its images, bridges and stacks, is neither used
nor touched. Ours reaches the world through slirp4netns, as the guests of a local host do, and what
containers publish is reached from the machine by `publish`. Build layers are kept in its folder, so
a second run on the same checkout builds in seconds. Everything ends with `stop`, or with the test
process if that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.compose.oci_runtime import missing_capabilities
from tests.servers import ManagedProcess, free_port, wait_until

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 90.0
COMMAND_TIMEOUT_S = 120.0
ADDRESS = "10.0.2.100"
"""The engine's own, as slirp4netns gives it; published ports listen there."""
RESOLVER = "10.0.2.3"
"""slirp4netns's: it asks whom the machine asks."""
BRIDGE_ADDRESS = "172.17.0.1"
"""How containers reach what others publish."""
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class DockerEngine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "docker.sock"
        self._uplink_socket = folder / "uplink.sock"
        runtime = []
        if missing_capabilities(Path("/proc/self/status").read_text()):
            shim = Path(__file__).with_name("oci_runtime.py")
            runtime = ["--add-runtime", f"reduced={shim}", "--default-runtime", "reduced"]
        self._daemon = ManagedProcess(
            [
                *WITH_PARENT,
                *("unshare", "-m", "-n", "--propagation", "private"),
                *(sys.executable, "-m", "tests.compose.real_root"),
                *("dockerd", "--data-root", str(folder / "data")),
                *("--exec-root", str(folder / "exec"), "--pidfile", str(folder / "docker.pid")),
                *("-H", f"unix://{self._socket}", "--dns", RESOLVER, *runtime),
            ],
            folder / "dockerd.log",
        )
        self._uplink: ManagedProcess | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in ("docker.pid", "docker.sock", "uplink.sock"):
            (self.folder / left).unlink(missing_ok=True)
        # What an engine that was killed left of its containers' processes.
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        self._daemon.start()
        wait_until(self._has_own_network, START_TIMEOUT_S, "the engine's network namespace")
        self._start_uplink()
        wait_until(self._answers, START_TIMEOUT_S, f"dockerd answers\n{self.log_text()}")

    def stop(self) -> None:
        self._daemon.stop(STOP_TIMEOUT_S)
        if self._uplink is not None:
            self._uplink.stop()

    def log_text(self) -> str:
        return self._daemon.log_text()[-4000:]

    @property
    def environment(self) -> dict[str, str]:
        """For docker and docker-compose."""
        return {
            **os.environ,
            "DOCKER_HOST": f"unix://{self._socket}",
            # The builder of the engine itself: the other wants a program of its own.
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "COMPOSE_HTTP_TIMEOUT": "300",
        }

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout_s: float = COMMAND_TIMEOUT_S,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`docker …`"""
        done = subprocess.run(
            ["docker", *argv],
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"docker {argv}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done

    def inside(self, *argv: str) -> list[str]:
        """A command that runs in the engine's own network."""
        return [*WITH_PARENT, "nsenter", "-t", str(self._daemon.pid), "-n", *argv]

    def on_its_disks(self, *argv: str) -> None:
        """A command that sees, and changes, what is mounted where the engine runs."""
        subprocess.run(
            ["nsenter", "-t", str(self._daemon.pid), "-m", *argv],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def seen_from_here(self, path: Path) -> Path:
        """A path of the engine's as this process reaches it."""
        return Path(f"/proc/{self._daemon.pid}/root", *path.parts[1:])

    def publish(self, port: int) -> int:
        """A port of the machine's loopback that leads to a published one."""
        own = free_port()
        answer = self._ask_uplink(
            {
                "execute": "add_hostfwd",
                "arguments": {
                    "proto": "tcp",
                    "host_addr": "127.0.0.1",
                    "host_port": own,
                    "guest_addr": ADDRESS,
                    "guest_port": port,
                },
            }
        )
        assert "error" not in answer, answer
        return own

    def _start_uplink(self) -> None:
        self._uplink = ManagedProcess(
            [
                *WITH_PARENT,
                *("slirp4netns", "--configure", "--mtu", "65520"),
                *("--api-socket", str(self._uplink_socket), str(self._daemon.pid), "tap0"),
            ],
            self.folder / "uplink.log",
        )
        self._uplink.start()
        wait_until(self._uplink_socket.exists, START_TIMEOUT_S, "slirp4netns answers")

    def _ask_uplink(self, order: dict[str, object]) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self._uplink_socket))
            client.sendall(json.dumps(order).encode())
            client.shutdown(socket.SHUT_WR)
            answer: dict[str, object] = json.loads(client.makefile().read())
        return answer

    def _has_own_network(self) -> bool:
        """unshare has become dockerd in a namespace that is not ours."""
        assert self._daemon.is_running(), self.log_text()
        with contextlib.suppress(FileNotFoundError):
            own = Path("/proc/self/ns/net").readlink()
            return Path(f"/proc/{self._daemon.pid}/ns/net").readlink() != own
        return False

    def _answers(self) -> bool:
        assert self._daemon.is_running(), self.log_text()
        return self._socket.exists() and self.run("info", check=False).returncode == 0
