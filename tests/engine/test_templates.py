"""Templates made from desktops, on real parts: rows as scripts write them, engine, lab host."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.engine.world import World

ROOMY = {"memory_mib": 16, "disks": [{"id": "system", "size_gib": 0.06}]}
TWO_DISKS = [{"id": "system"}, {"id": "data", "size_gib": 0.01}]


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    return shared_world


def info(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", str(path)], capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))


def backing_of(path: Path) -> str | None:
    found = info(path).get("backing-filename")
    return None if found is None else str(found)


def make_template(world: World, desktop: str, *, wait: bool = True, **more: Any) -> str:
    kind = more.pop("kind", "template")
    template = world.add_domain(kind, {"desktop": desktop}, **more)
    if wait:
        world.wait_for(template, "stopped")
    return template


def making(world: World, desktop: str) -> Any:
    return world.database.run(r.table("disks").get(f"making/{desktop}"))


def test_a_template_is_made_of_a_stopped_desktop_and_both_are_used(world: World) -> None:
    desktop = world.add_desktop(world.template)
    path = world.disk_of(desktop)
    inode = path.stat().st_ino
    template = make_template(world, desktop)

    made = world.disk_of(template)
    assert made.parent.parent.name == "templates"
    assert made.stat().st_ino == inode, "on one file system nothing is copied"
    assert backing_of(made) == str(world.disk_of(world.template))
    assert backing_of(path) == str(made), "the desktop is an overlay at its old path"
    world.wait_until(
        lambda: world.observed(desktop)["disks"][0]["backing"] == str(made), "the desktop says so"
    )
    assert making(world, desktop) is None

    # The desktop and one derived from the template run side by side.
    derived = world.add_desktop(template)
    assert world.observed(derived)["disks"][0]["backing"] == str(made)
    for one in (desktop, derived):
        world.wish(one, "started")
    for one in (desktop, derived):
        world.wait_for(one, "started")
        world.wish(one, "stopped", force=True)
    for one in (desktop, derived):
        world.wait_for(one, "stopped")

    # Both keep the template from being deleted, though the desktop's row names another.
    world.wish(template, "deleted")
    failure = world.wait_failure(template, "InUse")
    assert failure["message"].startswith("2 other domains")
    assert made.exists()
    for one in (derived, desktop, template):
        world.wish(one, "deleted")
    for one in (derived, desktop, template):
        world.wait_gone(one)
    assert world.disk_files() == {world.disk_of(world.template)}


def test_all_disks_of_a_desktop_become_the_templates(world: World) -> None:
    desktop = world.add_desktop(world.template, spec={"memory_mib": 16, "disks": TWO_DISKS})
    before = {disk["id"]: disk["path"] for disk in world.observed(desktop)["disks"]}
    template = make_template(world, desktop)
    made = {disk["id"]: disk["path"] for disk in world.observed(template)["disks"]}
    assert set(made) == {"system", "data"}
    for name, path in before.items():
        assert backing_of(Path(path)) == made[name]
    derived = world.add_desktop(template)
    assert [disk["backing"] for disk in world.observed(derived)["disks"]] == list(made.values())


def test_uefis_variables_go_with_the_template_and_into_what_is_made_of_it(world: World) -> None:
    uefi = {"memory_mib": 64, "firmware": "uefi", "disks": TWO_DISKS}
    desktop = world.add_desktop(world.template, spec=uefi)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")
    before = variables_of(world, desktop).read_bytes()
    template = make_template(world, desktop, spec=uefi)
    assert variables_of(world, template).read_bytes() == before
    assert variables_of(world, template).stat().st_mode & 0o777 == 0o600
    assert not variables_of(world, template).samefile(variables_of(world, desktop))

    derived = world.add_desktop(template, spec=uefi)
    own = variables_of(world, derived)
    assert own.read_bytes() == before
    file = own.stat().st_ino
    world.wish(derived, "started")
    world.wait_for(derived, "started")
    assert own.stat().st_ino == file, "it runs with the copy"
    world.wish(derived, "stopped", force=True)
    world.wait_for(derived, "stopped")
    assert variables_of(world, template).read_bytes() == before

    # One that has other hardware by now is made like any other, and all of it goes again.
    plain = world.add_desktop(template)
    folders = [world.disk_of(one).parent for one in (plain, derived, desktop, template)]
    for one in (plain, derived, desktop, template):
        world.wish(one, "deleted")
    for one in (plain, derived, desktop, template):
        world.wait_gone(one)
    assert [folder for folder in folders if folder.exists()] == []


def variables_of(world: World, domain: str) -> Path:
    return world.disk_of(domain).parent / "nvram.fd"


def test_a_base_is_made_of_a_desktop_likewise(world: World) -> None:
    desktop = world.add_desktop(world.template)
    base = make_template(world, desktop, kind="base")
    assert world.disk_of(base).parent.parent.name == "bases"
    derived = world.add_desktop(base)
    assert backing_of(world.disk_of(derived)) == str(world.disk_of(base))


def test_a_running_desktop_is_waited_for(world: World) -> None:
    desktop = world.add_desktop(world.template)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    template = make_template(world, desktop, wait=False)

    def waits() -> bool:
        return world.observed(template).get("reason") == "ParentNotReady"

    world.wait_until(waits, "it waits for the desktop to be stopped")
    assert "Shut it down" in world.observed(template)["message"]
    world.wish(desktop, "stopped", force=True)
    world.wait_for(template, "stopped")
    assert backing_of(world.disk_of(desktop)) == str(world.disk_of(template))


def test_a_disk_that_somebody_has_open_is_left_alone(world: World) -> None:
    """The rows say stopped; QEMU's own lock on the image knows better."""
    desktop = world.add_desktop(world.template)
    path = world.disk_of(desktop)
    command = ["qemu-io", "-f", "qcow2", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.read(8) == b"qemu-io>"
        template = make_template(world, desktop, wait=False)
        failure = world.wait_failure(template, "InUse")
        assert failure["step"] == "check"
        assert "qemu-img info" in failure["command"]
        assert making(world, desktop) is None
        assert backing_of(path) == str(world.disk_of(world.template))
        holder.stdin.close()
    world.wait_for(template, "stopped")


def test_a_desktop_whose_chain_is_broken_is_refused_and_stays_as_it_was(world: World) -> None:
    desktop = world.add_desktop(world.template)
    path = world.disk_of(desktop)
    elsewhere = world.add_template()
    world.host.exec(
        [*("qemu-img", "rebase", "-u", "-b"), str(world.disk_of(elsewhere)), "-F", "qcow2", path]
    )
    template = make_template(world, desktop, wait=False)
    failure = world.wait_failure(template, "DiskFailed")
    assert failure["terminal"]
    assert "but the record says" in failure["message"]
    assert making(world, desktop) is None
    # Mended, and tried again: the same wish with a new time.
    world.host.exec(
        [
            *("qemu-img", "rebase", "-u", "-F", "qcow2"),
            *("-b", str(world.disk_of(world.template)), path),
        ]
    )
    world.wish(template, "stopped")
    world.wait_for(template, "stopped")


def test_a_file_in_the_templates_place_is_not_touched(world: World) -> None:
    desktop = world.add_desktop(world.template)
    template_id = str(uuid.uuid4())
    place = world.folder / "storage" / "templates" / template_id / "disk0.qcow2"
    place.parent.mkdir()
    world.host.exec(["qemu-img", "create", "-q", "-f", "qcow2", str(place), "1M"])
    inode = place.stat().st_ino
    template = make_template(world, desktop, wait=False, id=template_id)
    failure = world.wait_failure(template, "DiskFailed")
    assert "It was not touched" in failure["message"]
    assert place.stat().st_ino == inode
    place.unlink()
    world.wish(template, "stopped")
    world.wait_for(template, "stopped")


def test_two_templates_of_one_desktop_are_made_one_after_the_other(world: World) -> None:
    desktop = world.add_desktop(world.template)
    both = [make_template(world, desktop, wait=False) for _ in range(2)]
    for template in both:
        world.wait_for(template, "stopped")
    chain = [world.disk_of(desktop)]
    while (below := backing_of(chain[-1])) is not None:
        chain.append(Path(below))
    assert len(chain) == 4
    assert {chain[1], chain[2]} == {world.disk_of(one) for one in both}


def test_a_template_wished_away_before_it_is_made_leaves_the_desktop_alone(world: World) -> None:
    desktop = world.add_desktop(world.template)
    path = world.disk_of(desktop)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    template = make_template(world, desktop, wait=False)
    world.wish(template, "deleted")
    world.wait_gone(template)
    assert backing_of(path) == str(world.disk_of(world.template))
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")


@pytest.fixture
def other_file_system(world: World) -> Iterator[Path]:
    """A file system of its own, where the pool's new templates go."""
    folder = world.folder / "storage" / "other"
    folder.mkdir()
    world.host.exec(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", str(folder)])
    pool = r.table("hypervisors_pools").get("default")
    before = world.database.run(pool["paths"]["templates"])

    def write(templates: list[dict[str, Any]]) -> None:
        world.database.run(pool.update({"paths": {"templates": templates}}))

    # What lies on the other path stays known; no new template goes there.
    write([{"path": str(folder)}, *({**path, "weight": 0} for path in before)])
    yield folder
    write([*before, {"path": str(folder), "weight": 0}])


def write_disk(world: World, path: Path, mib: int) -> None:
    world.host.exec(["qemu-io", "-f", "qcow2", "-c", f"write -P 7 1M {mib}M", str(path)])


def test_across_file_systems_the_disk_is_copied(world: World, other_file_system: Path) -> None:
    desktop = world.add_desktop(world.template, spec=ROOMY)
    path = world.disk_of(desktop)
    write_disk(world, path, 8)
    feed = r.table("domains").get_all(desktop).changes()
    cursor = feed.run(world.database.connect())
    template = make_template(world, desktop)
    made = world.observed(template)["disks"][0]["path"]
    assert made.startswith(str(other_file_system))
    text = world.host.exec(["qemu-img", "info", "-U", "--output=json", made]).stdout
    facts = json.loads(text)
    assert facts["backing-filename"] == str(world.disk_of(world.template))
    assert facts["actual-size"] > 8 << 20
    read = ["qemu-io", "-f", "qcow2", "-r", "-c", "read -P 7 1M 8M"]
    assert "verification failed" not in world.host.exec([*read, str(path)]).stdout
    assert backing_of(path) == made
    # The desktop said meanwhile what was going on.
    said: list[str | None] = []
    for change in cursor:
        said.append((change["new_val"]["observed"].get("activity") or {}).get("name"))
        if "templating" in said and said[-1] is None:
            break

    # Where there is no room for a copy nothing is begun, and the desktop can be used.
    larger = world.add_desktop(world.template, spec=ROOMY)
    write_disk(world, world.disk_of(larger), 12)
    world.host.exec(["mount", "-o", "remount,size=16m", str(other_file_system)])
    template = make_template(world, larger, wait=False)

    def has_no_room() -> bool:
        # Whichever notices first: the look at the storage, or the making itself.
        seen = world.observed(template)
        return seen.get("reason") in ("NoDiskHost", "NoSpace") and "free" in seen["message"]

    world.wait_until(has_no_room, "it waits for room")
    assert making(world, larger) is None
    world.wish(larger, "started")
    world.wait_for(larger, "started")
    world.wish(larger, "stopped", force=True)
    world.wait_for(larger, "stopped")
    world.host.exec(["mount", "-o", "remount,size=8g", str(other_file_system)])
    world.wish(template, "stopped")
    world.wait_for(template, "stopped")


def test_killed_while_it_makes_a_template_the_next_engine_ends_it(world: World) -> None:
    desktop = world.add_desktop(world.template)
    term = r.table("disks").get(f"making/{desktop}").changes()
    with contextlib.closing(world.database.connect()) as connection:
        feed = term.run(connection)
        template = make_template(world, desktop, wait=False)
        change = next(feed)
        world.engine.kill()
    assert change["new_val"]["state"] == "preparing"
    # Wished meanwhile, and kept: it starts once what was begun is taken back.
    world.wish(desktop, "started")
    world.restart_engine()
    world.wait_for(desktop, "started")
    world.wish(desktop, "stopped", force=True)
    world.wait_for(template, "stopped")
    assert backing_of(world.disk_of(desktop)) == str(world.disk_of(template))
    assert making(world, desktop) is None


def test_a_template_whose_row_a_script_removed_in_the_middle_frees_its_desktop(
    world: World,
) -> None:
    desktop = world.add_desktop(world.template)
    term = r.table("disks").get(f"making/{desktop}").changes()
    with contextlib.closing(world.database.connect()) as connection:
        feed = term.run(connection)
        template = make_template(world, desktop, wait=False)
        next(feed)
        world.engine.kill()
    world.database.run(r.table("domains").get(template).delete())
    world.restart_engine()
    world.wait_until(lambda: making(world, desktop) is None, "it is settled without its row")
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")


def test_no_desktop_is_made_of_a_template_that_is_going(world: World) -> None:
    template = world.add_template()
    leaving = world.add_desktop(template)
    # The file of the one that is leaving is in use, so both deletions wait.
    command = ["qemu-io", "-f", "qcow2", str(world.disk_of(leaving))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.read(8) == b"qemu-io>"
        world.wish(leaving, "deleted")
        world.wait_failure(leaving, "InUse")
        world.wish(template, "deleted")
        world.wait_until(
            lambda: "being deleted first" in (world.observed(template)["message"] or ""),
            "the template waits for it",
        )
        late = world.add_desktop(template, wait=False)

        def waits() -> bool:
            return world.observed(late).get("reason") == "ParentNotReady"

        world.wait_until(waits, "it waits")
        assert "is being deleted" in world.observed(late)["message"]
        holder.stdin.close()
    for one in (late, leaving, template):
        world.wish(one, "deleted")
    for one in (late, leaving, template):
        world.wait_gone(one)


def test_a_script_makes_one_for_each_user_of_a_group(world: World) -> None:
    """As docs/storage.md shows it."""
    people = [{"id": f"pupil-{at}", "name": f"Pupil {at}"} for at in range(3)]
    rows = [{**one, "group": "class-9z", "category": "default", "role": "user"} for one in people]
    world.database.run(r.table("users").insert(rows))
    world.database.run(
        r.table("domains").insert(
            r.table("users")
            .get_all("class-9z", index="group")
            .map(
                lambda user: {
                    "kind": "desktop",
                    "name": r.expr("Maths of ").add(user["name"]),
                    "user": user["id"],
                    "group": user["group"],
                    "category": user["category"],
                    "origin": {"template": world.template},
                    "desired": {"state": "stopped"},
                }
            )
        )
    )
    made = list(world.database.run(r.table("domains").get_all("class-9z", index="group")))
    assert {row["name"] for row in made} == {f"Maths of Pupil {at}" for at in range(3)}
    for row in made:
        world.wait_for(row["id"], "stopped")
