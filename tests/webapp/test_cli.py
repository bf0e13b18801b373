"""`python -m webapp <command>`: silent where all is so already, one clear sentence where not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.connection import Database, r
from db.rowcheck import check_domain, check_hypervisor
from tests.servers import ROOT
from tests.webapp.conftest import Rows
from webapp.auth import passwords
from webapp.cli import main
from webapp.hypervisor_cli import read_viewer
from webapp.services import users


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command in this process, as a terminal would give it (starting Python takes long)."""
    s = database.settings
    monkeypatch.setenv("ISARD_DATA", str(s.data))
    monkeypatch.setenv("ISARD_DB_HOST", s.db_host)
    monkeypatch.setenv("ISARD_DB_PORT", str(s.db_port))
    monkeypatch.setenv("ISARD_DB_NAME", s.db_name)
    monkeypatch.setenv("ISARD_DB_PASSWORD", s.db_password)

    def call(*words: str, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(list(words))
        return Done(code, *capsys.readouterr())

    return call


def assert_done(done: Done, said: str = "") -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def assert_refused(done: Done, *words: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_users_are_added_listed_and_given_passwords(run: Run, database: Database) -> None:
    add = ("user", "add", "admin", "--role", "admin", "--password-stdin")
    assert_done(run(*add, stdin="a first password\n"))
    assert_done(run(*add, stdin="another password\n"))
    assert passwords.is_right(database, "admin", "a first password"), "it stays as it was"
    made = database.run(r.table("users").get("admin"))
    assert set(made) == set(users.new_row("admin", "admin"))
    assert_done(run("user", "list"), "admin\tadmin\tenabled\n")
    assert_done(run("user", "password", "admin", "--password-stdin", stdin="the second one\n"))
    assert passwords.is_right(database, "admin", "the second one")
    assert database.run(r.table("users").get("admin"))["sessions_epoch"] == 2
    assert_refused(run("user", "add", "admin", "--password-stdin", stdin="whatever x\n"), "role")
    weak = run("user", "add", "weak", "--password-stdin", stdin="short\n")
    assert_refused(weak, "at least 8 characters")
    assert_refused(run("user", "add", "No Slug", "--password-stdin", stdin="long enough\n"), "a-z")
    assert_refused(run("user", "password", "nobody", "--password-stdin", stdin="long enough\n"))
    assert_done(run("user", "list"), "admin\tadmin\tenabled\n")


def test_a_password_is_made_up_where_nobody_can_be_asked(run: Run, database: Database) -> None:
    done = run("user", "add", "ana")
    assert done.returncode == 0
    made_up = done.stdout.split()[-1]
    assert passwords.is_right(database, "ana", made_up)
    assert_done(run("user", "add", "ana"))


def test_a_hypervisor_is_added_once(run: Run, rows: Rows, tmp_path: Path) -> None:
    key = tmp_path / "host.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 root@host\n")
    add = ("hypervisor", "add", "local", "--hostname", "127.0.0.1", "--host-key-file", str(key))
    assert_done(run(*add, "--port", "2022", "--viewer-port", "6090"))
    row = rows.get("local", "hypervisors")
    assert check_hypervisor(row) is None
    assert row["host_key"] == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"
    assert row["viewer"] == {"hostname": None, "port": 6090}
    assert row["capabilities"] == {"hypervisor": True, "disk_operations": True}
    assert_done(run(*add, "--port", "2022", "--viewer-port", "6090"))
    assert rows.get("local", "hypervisors") == row
    assert_refused(run(*add, "--port", "2023"), "'local'", "port")
    assert_done(run(*add, "--port", "2023", "--update"))
    changed = rows.get("local", "hypervisors")
    assert (changed["port"], changed["viewer"]["port"]) == (2023, 6090)
    assert changed["desired"] == row["desired"]
    assert_refused(run("hypervisor", "add", "x", "--hostname=-oProxyCommand=x"), "hostname")
    missing = run("hypervisor", "add", "y", "--hostname", "h", "--host-key-file", "/nowhere")
    assert_refused(missing, "host key file")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hostname="], "HYPERVISOR is missing"),
        (["--port=ssh"], "PORT is wrong"),
        (["--port=70000"], "PORT is wrong"),
        (["--user=root; id"], "USER is wrong"),
        (["--kinds=router"], "KINDS is wrong"),
        (["--pool=nowhere"], "There are: default"),
        (["--viewer=[::1]:x"], "VIEWER is wrong"),
        (["--fingerprint=MD5:00"], "ssh-keygen -lf"),
        ([], "The engine is not running"),
    ],
)
def test_what_is_wrong_with_a_new_host_is_said(
    run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    add = ["hypervisor", "add", "--enrol", *([] if "--hostname=" in words else ["--hostname=h"])]
    assert_refused(run(*add, *words), said)
    assert "PASSWORD" not in os.environ
    assert rows.count("hypervisors") == rows.count("enrolments") == 0


def test_where_browsers_reach_a_host_is_read_as_people_write_it() -> None:
    assert read_viewer("", None) == {}
    assert read_viewer("v.example", None) == {"hostname": "v.example"}
    assert read_viewer("v.example:443", 6080) == {"hostname": "v.example", "port": 443}
    assert read_viewer(":443", None) == {"port": 443}
    assert read_viewer("2001:db8::7", None) == {"hostname": "2001:db8::7"}
    assert read_viewer("[2001:db8::7]:443", None) == {"hostname": "2001:db8::7", "port": 443}


def test_a_pools_paths_are_set_while_nothing_is_in_it(run: Run, rows: Rows) -> None:
    assert_done(run("pool", "paths", "default", "--root", "/srv/isard/"))
    paths = rows.get("default", "hypervisors_pools")["paths"]
    assert paths["groups"] == [{"path": "/srv/isard/groups", "disk_operations": [], "weight": 100}]
    assert set(paths) == {"bases", "templates", "groups", "media"}
    rows.put("disks", {"id": "a/b", "domain": "a", "pool": "default", "state": "made"})
    assert_done(run("pool", "paths", "default", "--root", "/srv/isard"))
    assert_refused(
        run("pool", "paths", "default", "--root", "/elsewhere"), "1 disk is in other folders"
    )
    assert_done(run("pool", "paths", "default", "--root", "/elsewhere", "--only-first"))
    assert_refused(run("pool", "paths", "none", "--root", "/srv"), "no pool 'none'")
    for bad in ("relative", "/a/../b", "/a;b", "/a\nb"):
        assert_refused(run("pool", "paths", "default", "--root", bad))
    assert rows.get("default", "hypervisors_pools")["paths"] == paths


def test_a_template_is_made_once_of_an_image(run: Run, rows: Rows) -> None:
    add = ("template", "add", "Demo", "--image", "/srv/isard/bases/demo.qcow2", "--icon", "demo")
    assert_refused(run(*add), "no user 'admin'")
    run("user", "add", "admin", "--role", "admin")
    assert_done(run(*add, "--memory-mib", "96"))
    found = list(rows.database.run(r.table("domains")))
    assert len(found) == 1
    row = found[0]
    assert check_domain(row) is None
    assert (row["kind"], row["name"], row["user"]) == ("template", "Demo", "admin")
    assert row["origin"] == {"image": "/srv/isard/bases/demo.qcow2"}
    assert row["spec"]["memory_mib"] == 96
    assert row["desired"]["state"] == "stopped"
    assert_done(run(*add, "--memory-mib", "96"))
    assert list(rows.database.run(r.table("domains"))) == found
    assert_refused(run("template", "add", "Demo", "--image", "/srv/other.qcow2"), "another image")
    assert_refused(run("template", "add", "<b>", "--image", "/srv/x.qcow2"), "name")
    assert_refused(run("template", "add", "X", "--image", "../etc/passwd"), "origin.image")


def start(argv: list[str], environment: Mapping[str, str]) -> Done:
    """As a process of its own."""
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_database_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "ISARD_DB_PORT": "1", "ISARD_DATA": str(tmp_path)}
    argv = [sys.executable, "-m", "webapp", "user", "list"]
    assert_refused(start(argv, environment), "127.0.0.1:1")


def test_a_wrong_variable_is_a_sentence() -> None:
    environment = {**os.environ, "ISARD_WEB_PORT": "eighty"}
    argv = [sys.executable, "-m", "webapp"]
    assert_refused(start(argv, environment), "ISARD_WEB_PORT")
