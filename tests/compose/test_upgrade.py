"""A newer program by `docker-compose pull && docker-compose up -d`, from a registry of the test's
own; the older one again; and a backup in an empty stack beside the first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.docker_engine import DockerEngine
from tests.compose.stack import Stack, wait_for
from tests.servers import ManagedProcess, wait_until

REGISTRY = "127.0.0.1:5000"
IMAGES = ("isard-app", "isard-hypervisor", "isard-portal")
PORTS, OTHER_PORTS = (8081, 8444), (8082, 8445)

CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""

NEWER = """
FROM {base}
USER root
RUN printf '%s\\n' \\
    "UPGRADES.append((newest_version() + 1, 'of the test', lambda db: db.run(" \\
    "    r.table('config').insert({{'id': 'of-the-test'}}, conflict='replace'))))" \\
    >> /usr/lib/isardvdi/db/schema.py
USER 64100:64100
"""
"""The present program with one more upgrade."""

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def registry(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    config = folder / "config.yml"
    config.write_text(CONFIG.format(folder=folder / "images", address=REGISTRY))
    server = ManagedProcess(
        engine.inside("docker-registry", "serve", str(config)), folder / "registry.log"
    )
    server.start()
    try:
        yield f"{REGISTRY}/isardvdi/"
    finally:
        server.stop()


def publish(engine: DockerEngine, source: str, target: str) -> None:
    engine.run("tag", source, target)
    wait_until(
        lambda: engine.run("push", target, check=False, timeout_s=300).returncode == 0,
        300,
        f"{target} is pushed",
        every_s=1,
    )


@pytest.fixture(scope="module")
def upgradable(
    engine: DockerEngine,
    variables: dict[str, str],
    registry: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A stack whose images come from the registry, with the name `stable`."""
    ours = f"{variables['ISARD_IMAGES']}{{}}:{variables['ISARD_VERSION']}"
    for name in IMAGES:
        publish(engine, ours.format(name), f"{registry}{name}:stable")
    folder: Path = tmp_path_factory.mktemp("upgradable")
    told = {"ISARD_IMAGES": registry, "ISARD_VERSION": "stable", "COMPOSE_PROJECT_NAME": "second"}
    stack = Stack(engine, folder / "opt-isard", told, ports=PORTS)
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


def schema_of(stack: Stack) -> int:
    return int(stack.exec("isard-app", "python", "-m", "db", "version").stdout)


def test_a_newer_program_upgrades_after_a_backup_and_an_older_one_refuses(
    engine: DockerEngine,
    variables: dict[str, str],
    registry: str,
    upgradable: Stack,
    tmp_path: Path,
) -> None:
    row = upgradable.api().create("Older than the program")
    wait_for(upgradable.api(), row["id"], "stopped")
    before = schema_of(upgradable)

    present = f"{variables['ISARD_IMAGES']}isard-app:{variables['ISARD_VERSION']}"
    (tmp_path / "Dockerfile").write_text(NEWER.format(base=present))
    engine.run("build", "-t", "isardvdi-test/isard-app:newer", str(tmp_path), timeout_s=300)
    publish(engine, "isardvdi-test/isard-app:newer", f"{registry}isard-app:stable")
    upgradable.run("pull")
    upgradable.up()
    assert schema_of(upgradable) == before + 1
    backups = list((upgradable.root / "backups").glob(f"before-upgrade-from-schema-{before}-*"))
    assert len(backups) == 1
    assert backups[0].stat().st_mode & 0o077 == 0
    wait_for(upgradable.api(), row["id"], "stopped")

    # The older program does not touch it, and says what to do.
    publish(engine, present, f"{registry}isard-app:stable")
    upgradable.run("pull")
    upgradable.run("up", "-d", "--no-build")
    sentence = f"The database has schema {before + 1}, this program knows {before}"
    wait_until(
        lambda: sentence in upgradable.logs("isard-app"), 120, "the older program refuses", 1
    )
    assert "Install the newer program again" in upgradable.logs("isard-app")

    publish(engine, "isardvdi-test/isard-app:newer", f"{registry}isard-app:stable")
    upgradable.run("pull")
    upgradable.up()
    wait_for(upgradable.api(), row["id"], "stopped")


def download_backup(stack: Stack) -> bytes:
    """One ordered by REST, made and tried inside the stack, and fetched through the portal."""
    api = stack.api()
    backup_id = api.call("POST", "/backups", {}).json()["id"]

    def is_verified(backup_id: str) -> bool:
        row = api.get(f"/backups/{backup_id}")
        assert row["state"] not in ("failed", "unverified"), row["message"]
        return bool(row["state"] == "verified")

    wait_until(lambda: is_verified(backup_id), 120, "the backup is verified", 0.5)
    file = stack.root / "backups" / f"{backup_id}.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_uid == 64100
    plain = api.session.get(f"{api.url}/backups/{backup_id}/file", timeout=60)
    assert b"argon2" not in plain.content
    assert b"argon2" in file.read_bytes()
    whole = api.session.get(f"{api.url}/backups/{backup_id}/file?secrets=true", timeout=60)
    assert whole.content == file.read_bytes()
    # What a person wrote there by `docker exec` is found and tried as well.
    wait_until(lambda: is_verified("by-hand"), 120, "the file made by hand is verified", 0.5)
    return whole.content


def test_a_backup_is_restored_into_an_empty_stack_beside_it(
    engine: DockerEngine, upgradable: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two stacks on one host: each with its name, its folder and its ports."""
    row = upgradable.api().create("Saved")
    wait_for(upgradable.api(), row["id"], "stopped")
    save = ("python", "-m", "db", "backup", "/opt/isard/backups/by-hand.jsonl")
    assert "rows" in upgradable.exec("isard-app", *save).stdout
    saved = download_backup(upgradable)
    folder: Path = tmp_path_factory.mktemp("third")
    told = {**upgradable.variables, "COMPOSE_PROJECT_NAME": "third"}
    for name in ("ISARD_ROOT", "ISARD_HTTP_PORT", "ISARD_HTTPS_PORT", "ISARD_ADMIN_PASSWORD"):
        told.pop(name)
    empty = Stack(engine, folder / "opt-isard", told, ports=OTHER_PORTS)
    try:
        empty.up()
        assert empty.api().get("/desktops")["items"] == []
        copy = empty.root / "backups" / "downloaded.jsonl"
        copy.write_bytes(saved)
        copy.chmod(0o600)
        shutil.chown(copy, 64100, 64100)
        load = ("python", "-m", "db", "restore", "/opt/isard/backups/downloaded.jsonl", "--replace")
        refused = empty.exec("isard-app", *load, check=False)
        assert refused.returncode != 0
        assert "engine" in refused.stderr
        engine.run("stop", empty.container("isard-engine"))
        assert "Restored" in empty.exec("isard-app", *load).stdout
        engine.run("start", empty.container("isard-engine"))
        names = [item["name"] for item in empty.api().get("/desktops")["items"]]
        assert "Saved" in names

        def is_refused() -> bool:
            """A database without its storage and keys: nothing is touched until they are there."""
            row = empty.api().get("/hypervisors/isard-hypervisor")
            return bool(row["observed"]["host_key_offered"])

        wait_until(is_refused, 120, "the new host's key is not taken for the old one's", 0.5)
        # The first goes on as if there were no other.
        assert upgradable.is_serving()
    finally:
        empty.remove()
