"""Engine or database killed with -9 in the middle of a start, a stop, a creation and a deletion.

The moments are hit by time, not by hooks in the product: each case kills after another delay, from
right after the wish until after the work is usually done. Whatever was hit, the wish is reached
in the end, and no file and no domain is left over.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from db.connection import r
from tests.e2e.product import Api, Product
from tests.servers import wait_until

DELAYS_S = (0.0, 0.1, 0.4)
CONVERGES_S = 90


def kill(product: Product, process: str) -> None:
    """kill -9, and wait until the supervisor has started it again."""
    pid = product.pid_of(process)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_up_again(product, process, pid), 30, f"{process} is started again")


def is_up_again(product: Product, process: str, old: int) -> bool:
    try:
        return product.pid_of(process) != old
    except AssertionError:
        return False


def after(delay_s: float, product: Product, process: str) -> None:
    """Kill the process that long from now; the delay is the case, not a wait for anything."""
    threading.Event().wait(delay_s)
    kill(product, process)


def wait_for(api: Api, desktop_id: str, state: str) -> None:
    """As Api.wait_for, but the web pages may answer 503 while the database is away."""

    def look() -> bool:
        answer = api.session.get(f"{api.url}/desktops/{desktop_id}", timeout=20)
        if state == "gone":
            return answer.status_code == 404
        return answer.status_code == 200 and answer.json()["condition"] == state

    wait_until(look, CONVERGES_S, f"desktop {desktop_id} is {state}", every_s=0.2)


def wish(api: Api, desktop_id: str, body: dict[str, object]) -> None:
    answer = api.session.patch(f"{api.url}/desktops/{desktop_id}", json=body, timeout=20)
    assert answer.status_code == 202, answer.text


def domains_running(product: Product) -> str:
    """What libvirt itself says, over SSH as an administrator would ask."""
    port = product.environment["ISARD_SSH_PORT"]
    answer = subprocess.run(
        [
            "ssh",
            *("-i", str(product.data / "ssh" / "id_ed25519"), "-p", port),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5"),
            "root@127.0.0.1",
            "virsh list --all --uuid",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return answer.stdout.strip()


def wait_swept(product: Product, desktop_id: str) -> None:
    """The row goes first, what the engine keeps of its disks after it."""
    database = product.database()
    ledger = r.table("disks").get_all(desktop_id, index="domain").count()
    wait_until(lambda: database.run(ledger) == 0, CONVERGES_S, "the ledger is swept")


def list_disks(product: Product) -> list[Path]:
    return [path for path in product.storage_files() if path.suffix == ".qcow2"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("process", ["engine", "db"])
def test_killed_at_any_moment_every_wish_is_reached(
    product: Product, api: Api, process: str
) -> None:
    for number, delay_s in enumerate(DELAYS_S):
        row = api.create(f"Killed {process} {number}")
        after(delay_s, product, process)
        wait_for(api, row["id"], "stopped")

        wish(api, row["id"], {"desired": {"state": "started"}})
        after(delay_s, product, process)
        wait_for(api, row["id"], "started")
        assert row["id"] in domains_running(product)

        wish(api, row["id"], {"desired": {"state": "stopped", "force": number % 2 == 0}})
        after(delay_s, product, process)
        wait_for(api, row["id"], "stopped")
        assert row["id"] not in domains_running(product)

        answer = api.session.delete(f"{api.url}/desktops/{row['id']}", timeout=20)
        assert answer.status_code == 202
        after(delay_s, product, process)
        wait_for(api, row["id"], "gone")
        assert product.storage_files() == []
        wait_swept(product, row["id"])
    assert domains_running(product) == ""


@pytest.mark.timeout(300)
def test_a_script_starts_a_class_and_the_page_would_see_it(product: Product, api: Api) -> None:
    """The one line of docs/scripting.md, against the whole product."""
    row = api.create("By script")
    api.wait_for(row["id"], "stopped")
    database = product.database()
    wish = {"desired": {"state": "started", "at": r.now()}}
    database.run(r.table("domains").get_all(row["group"], index="group").update(wish))
    seen = api.wait_for(row["id"], "started")
    assert seen["desired"]["by"] == "script"
    database.run(
        r.table("domains")
        .get(row["id"])
        .update({"desired": {"state": "stopped", "force": True, "at": r.now()}})
    )
    api.wait_for(row["id"], "stopped")
    database.run(r.table("domains").get(row["id"]).update({"desired": {"state": "deleted"}}))
    api.wait_gone(row["id"])
    assert product.storage_files() == []


@pytest.mark.timeout(300)
def test_nonsense_from_a_script_harms_nothing(product: Product, api: Api) -> None:
    """An unknown state is reported; an emptied `observed` never leads to a disk made anew."""
    row = api.create("Nonsense")
    api.wait_for(row["id"], "stopped")
    database = product.database()
    table = r.table("domains").get(row["id"])
    files = list_disks(product)
    assert len(files) == 1
    before = files[0].stat()

    database.run(table.update({"desired": {"state": "exploded"}}))

    def reported() -> bool:
        failure = database.run(table)["observed"].get("failure") or {}
        return failure.get("reason") == "InvalidRow" and "desired" in failure["message"]

    wait_until(reported, 30, "the invalid row is reported")

    database.run(table.update({"desired": {"state": "stopped", "at": r.now()}}))
    database.run(table.update({"observed": r.literal({})}))
    api.wait_for(row["id"], "stopped")
    after_ = list_disks(product)[0].stat()
    assert (after_.st_ino, after_.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    # The file taken away and the observation emptied: it is missing, not made anew.
    kept = files[0].with_name("kept-by-the-test")
    files[0].rename(kept)
    database.run(table.update({"observed": r.literal({})}))
    api.wish(row["id"], "started")

    def missing() -> bool:
        failure = database.run(table)["observed"].get("failure") or {}
        return failure.get("reason") == "DiskMissing"

    wait_until(missing, 60, "the missing disk is reported")
    assert not files[0].exists()

    # Put back, a new wish starts it.
    kept.rename(files[0])
    api.wish(row["id"], "started")
    api.wait_for(row["id"], "started")
    api.call("DELETE", f"/desktops/{row['id']}")
    api.wait_gone(row["id"])
    assert product.storage_files() == []
