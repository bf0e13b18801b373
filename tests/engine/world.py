"""A whole small installation for tests: database, engine and lab hosts, driven by ReQL alone.

    with World() as world:                         # database and engine run, one host is online
        template = world.add_template()            # made of the tiny guest, waited for
        desktop = world.add_desktop(template)
        world.wish(desktop, "started")
        world.wait_for(desktop, "started")

Everything is real: the embedded server, `python -m engine`, libvirtd, sshd and QEMU. Processes are
ended by pid when the context ends, whatever the test did.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from db import defaults, schema
from db.connection import Database, r
from db.settings import Settings
from tests.lab import Lab, LabHost, tiny_guest
from tests.servers import EmbeddedServer, ManagedProcess, wait_until

START_TIMEOUT_S = 40.0
"""One step of a guest on a busy machine of two cores."""
USES = ("bases", "templates", "groups", "media")


class World:
    """`hosts`: ids of the hypervisors to start with. They share one storage.

    The folder is one of its own, open to others, because a lab host hides what lies below a closed
    one: the hosts could not see the storage they share.
    """

    def __init__(
        self,
        *,
        hosts: tuple[str, ...] = ("h1",),
        shutdown_timeout_s: float = 20.0,
        call_timeout_s: float = 20.0,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="isard-world-"))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.lab = Lab(self.folder / "lab")
        self.server = EmbeddedServer(self.folder / "reql")
        self._host_ids = hosts
        self._shutdown_timeout_s, self._call_timeout_s = shutdown_timeout_s, call_timeout_s
        self.hosts: dict[str, LabHost] = {}
        self.engines: list[ManagedProcess] = []
        self.template = ""

    def __enter__(self) -> World:
        self.lab.__enter__()
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for engine in self.engines:
            engine.stop()
        self.server.stop()
        self.lab.__exit__(kind, error, trace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        self.server.start()
        (self.data / "ssh").mkdir(parents=True)
        (self.data / "images").mkdir()
        tiny_guest.build(self.data / "images" / "tiny.qcow2")
        self.database = Database(self.settings)
        schema.ensure(self.database)
        defaults.insert_missing(self.database)
        for host_id in self._host_ids:
            self.hosts[host_id] = self.lab.start(host_id)
        for name in ("id_ed25519", "id_ed25519.pub"):
            shutil.copy(self.lab.key_path.with_name(name), self.data / "ssh" / name)
        storage = self.folder / "storage"
        for use in USES:
            (storage / use).mkdir(parents=True)
        self.database.run(
            r.table("hypervisors_pools")
            .get("default")
            .update({"paths": {use: [{"path": str(storage / use)}] for use in USES}})
        )
        for host in self.hosts.values():
            self.add_hypervisor(host)
        self.engine = self.start_engine()
        for host_id in self._host_ids:
            self.wait_online(host_id)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ISARD_DATA": str(self.data),
            "ISARD_DB_PORT": str(self.server.port),
            "ISARD_SHUTDOWN_TIMEOUT": str(self._shutdown_timeout_s),
            "ISARD_CALL_TIMEOUT": str(self._call_timeout_s),
        }

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    @property
    def host(self) -> LabHost:
        return self.hosts[self._host_ids[0]]

    def start_engine(self) -> ManagedProcess:
        engine = ManagedProcess(
            [sys.executable, "-m", "engine"],
            self.folder / f"engine-{len(self.engines)}.log",
            self.environment,
        )
        engine.start()
        self.engines.append(engine)
        return engine

    def restart_engine(self) -> None:
        """After a kill: the next one, as a launcher would start it."""
        self.engine = self.start_engine()

    def log_text(self) -> str:
        return "".join(engine.log_text() for engine in self.engines)

    def add_hypervisor(self, host: LabHost, **more: Any) -> None:
        row = {
            "id": host.id,
            "hostname": "127.0.0.1",
            "port": host.ssh_port,
            "user": "root",
            "host_key": host.host_key,
            "capabilities": {"hypervisor": True, "disk_operations": True},
            "pools": ["default"],
            "viewer": {"port": host.viewer_port},
            "desired": {"state": "enabled", "at": r.now()},
            **more,
        }
        self.database.run(r.table("hypervisors").insert(row))

    def wait_online(self, host_id: str) -> None:
        def is_online() -> bool:
            row = self.database.run(r.table("hypervisors").get(host_id))
            return (row.get("observed") or {}).get("state") == "online"

        wait_until(is_online, START_TIMEOUT_S, f"{host_id} online\n{self.log_text()[-3000:]}")

    def add_domain(self, kind: str, origin: dict[str, Any], **more: Any) -> str:
        """A row as a script would insert it: no `observed`, the least of everything."""
        domain_id = str(more.pop("id", None) or uuid.uuid4())
        row = {
            "id": domain_id,
            "kind": kind,
            "name": f"{kind} {domain_id[:4]}",
            "user": "ana",
            "group": "class-1a",
            "category": "default",
            "origin": origin,
            "spec": {"vcpus": 1, "memory_mib": 16},
            "desired": {"state": "stopped"},
            **more,
        }
        answer = self.database.run(r.table("domains").insert(row))
        assert answer["inserted"] == 1, answer
        return domain_id

    def add_template(self, *, wait: bool = True, **more: Any) -> str:
        image = str(self.data / "images" / "tiny.qcow2")
        template = self.add_domain("template", {"image": image}, **more)
        if wait:
            self.wait_for(template, "stopped")
        return template

    def add_desktop(self, template: str, *, wait: bool = True, **more: Any) -> str:
        desktop = self.add_domain("desktop", {"template": template}, **more)
        if wait:
            self.wait_for(desktop, "stopped")
        return desktop

    def wish(self, domain_id: str, state: str, **more: Any) -> None:
        desired = {"state": state, "at": r.now(), **more}
        self.database.run(r.table("domains").get(domain_id).update({"desired": desired}))

    def row(self, domain_id: str) -> dict[str, Any]:
        row = self.database.run(r.table("domains").get(domain_id))
        assert row is not None, f"there is no row {domain_id}"
        return dict(row)

    def observed(self, domain_id: str) -> dict[str, Any]:
        observed = self.row(domain_id).get("observed")
        return dict(observed) if isinstance(observed, dict) else {}

    def wait_for(
        self, domain_id: str, state: str, *, timeout_s: float = START_TIMEOUT_S, **fields: Any
    ) -> dict[str, Any]:
        """Until `observed` has this state, nothing is being done, and these fields are so."""

        def is_there() -> bool:
            seen = self.observed(domain_id)
            return (
                seen.get("state") == state
                and not seen.get("activity")
                and all(seen.get(key) == value for key, value in fields.items())
                and (bool(fields) or seen.get("for") is not None)
            )

        self.wait_until(is_there, f"{domain_id} {state} {fields}", timeout_s)
        return self.observed(domain_id)

    def wait_failure(self, domain_id: str, reason: str) -> dict[str, Any]:
        def has_failed() -> bool:
            return (self.observed(domain_id).get("failure") or {}).get("reason") == reason

        self.wait_until(has_failed, f"{domain_id} fails with {reason}")
        return dict(self.observed(domain_id)["failure"])

    def wait_gone(self, domain_id: str) -> None:
        def is_gone() -> bool:
            return self.database.run(r.table("domains").get(domain_id)) is None

        self.wait_until(is_gone, f"{domain_id} removed")

    def wait_until(
        self, check: Callable[[], object], what: str, timeout_s: float = START_TIMEOUT_S
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not check():
            if time.monotonic() > deadline:
                rows = self.database.run(r.table("domains").pluck("id", "desired", "observed"))
                raise AssertionError(
                    f"{what}: not within {timeout_s:g} s\n{rows}\n{self.log_text()[-6000:]}"
                )
            time.sleep(0.05)

    def running(self, host: LabHost | None = None) -> set[str]:
        """What libvirt itself says is running there."""
        names = (host or self.host).exec(["virsh", "-q", "list", "--name"]).stdout.split()
        return set(names)

    def disk_files(self) -> set[Path]:
        """Every file under the storage that is no marker and no lock."""
        return {
            path
            for path in (self.folder / "storage").rglob("*")
            if path.is_file()
            and not path.name.startswith(".isard")
            and ".isard-locks" not in path.parts
        }

    def disk_of(self, domain_id: str) -> Path:
        return Path(self.observed(domain_id)["disks"][0]["path"])
