"""One copy of the product for tests, started and stopped by the commands behind `make run`.

It lives in a folder and on ports of its own, so that it runs beside whatever else runs here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from db.connection import Database
from db.settings import Settings
from local.identity import find
from tests.servers import ROOT, free_port, wait_until

PASSWORD = "correct horse battery"
START_TIMEOUT_S = 420
STOP_TIMEOUT_S = 180
PORTS = ("ISARD_WEB_PORT", "ISARD_DB_PORT", "ISARD_SSH_PORT", "ISARD_VIEWER_PORT")


class Product:
    """`start` and `stop` are what the Makefile calls; `kill` is a power cut of one process."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.environment = {
            "ISARD_DATA": str(data),
            "ISARD_ADMIN_PASSWORD": PASSWORD,
            "ISARD_SHUTDOWN_TIMEOUT": "20",
            **{name: str(free_port()) for name in PORTS},
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['ISARD_WEB_PORT']}"

    def command(self, name: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local", name],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self) -> str:
        """What it printed. Fails with the logs when it does not come up."""
        answer = self.command("start", START_TIMEOUT_S)
        assert answer.returncode == 0, answer.stdout + answer.stderr + self.logs()
        return answer.stdout

    def stop(self) -> str:
        answer = self.command("stop", STOP_TIMEOUT_S)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def logs(self, lines: int = 30) -> str:
        parts = []
        for path in sorted((self.data / "logs").glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path.name}\n" + "\n".join(tail))
        return "\n".join(parts)

    def pid_of(self, process: str) -> int:
        handle = find(self.data / "run" / f"{process}.pid.json")
        assert handle is not None, f"{process} does not run"
        return handle.identity.pid

    def database(self) -> Database:
        """A connection as a scripter's: the password is in the data folder."""
        password = (self.data / "secrets" / "db_password").read_text().strip()
        return Database(
            Settings.from_environment({**self.environment, "ISARD_DB_PASSWORD": password})
        )

    def storage_files(self, use: str = "groups") -> list[Path]:
        """Every file below a pool path but the storage's own marker."""
        root = self.data / "storage" / use
        return [path for path in root.rglob("*") if path.is_file() and path.parent != root]


class Api:
    """REST v1 as a script uses it."""

    def __init__(
        self,
        url: str,
        username: str = "admin",
        password: str = PASSWORD,
        verify: Path | None = None,
    ) -> None:
        """`verify`: the authority of a server with TLS."""
        self.url = url + "/api/v1"
        self.session = requests.Session()
        if verify is not None:
            self.session.verify = str(verify)
            self.session.trust_env = False  # a bundle named by the environment would win
        answer = self.call("POST", "/tokens", {"username": username, "password": password})
        self.session.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        answer = self.session.request(method, self.url + path, json=body, timeout=20)
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def demo_template(self) -> dict[str, Any]:
        """The template every installation begins with, once its disk is there."""

        def find_ready() -> dict[str, Any] | None:
            rows = self.get("/templates")["items"]
            ready = [row for row in rows if row["name"] == "Demo" and row["is_ready"]]
            return ready[0] if ready else None

        found = wait_until(find_ready, 120, "the template Demo is ready")
        assert isinstance(found, dict)
        return found

    def create(self, name: str) -> dict[str, Any]:
        origin = {"template": self.demo_template()["id"]}
        answer = self.call("POST", "/desktops", {"name": name, "origin": origin})
        assert answer.status_code == 201, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def wish(self, desktop_id: str, state: str, **more: Any) -> None:
        body = {"desired": {"state": state, **more}}
        answer = self.call("PATCH", f"/desktops/{desktop_id}", body)
        assert answer.status_code == 202, answer.text

    def wait_for(self, desktop_id: str, state: str, timeout_s: float = 60) -> dict[str, Any]:
        """The row once it is seen in that state with nothing left to do."""

        def look() -> dict[str, Any] | None:
            row: dict[str, Any] = self.get(f"/desktops/{desktop_id}")
            return row if row["condition"] == state else None

        row = wait_until(look, timeout_s, f"desktop {desktop_id} is {state}")
        assert isinstance(row, dict)
        return row

    def wait_gone(self, desktop_id: str, timeout_s: float = 60) -> None:
        wait_until(
            lambda: self.call("GET", f"/desktops/{desktop_id}").status_code == 404,
            timeout_s,
            f"desktop {desktop_id} is gone",
        )
