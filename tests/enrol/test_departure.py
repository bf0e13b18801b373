"""A hypervisor that is deleted takes the engine's key out of the host, and nothing else."""

from __future__ import annotations

from typing import Any

from db.connection import r
from tests.enrol.conftest import FOREIGN_KEY, HOME, Enrolling

FILE = f"{HOME}/.ssh/authorized_keys"


def delete(e: Enrolling, *names: str, **more: Any) -> None:
    wish = {"desired": {"state": "deleted", "at": r.now(), **more}}
    e.world.database.run(r.table("hypervisors").get_all(*names).update(wish))


def wait_removed(e: Enrolling, *names: str) -> None:
    query = r.table("hypervisors").get_all(*names).count()
    e.world.wait_until(lambda: e.world.database.run(query) == 0, f"{names} removed")


def told(e: Enrolling, name: str) -> dict[str, Any]:
    """What the audit says of its end."""
    query = r.table("events").get_all(f"hypervisor/{name}", index="target")
    query = query.filter({"what": "hypervisor.deleted"})
    e.world.wait_until(lambda: e.world.database.run(query.count()), f"the end of {name} is told")
    event = e.world.database.run(query.nth(0))
    assert event["who"] == "engine"
    return dict(event["detail"])


def own_key(e: Enrolling) -> str:
    return (e.world.data / "ssh" / "id_ed25519.pub").read_text().split()[1]


def enrolled(e: Enrolling) -> str:
    name = e.add(trust_new_key=True)
    e.wait_enrolment(name, "done")
    e.world.wait_online(name)
    return name


def add_twin(e: Enrolling) -> str:
    """The same host by another name, as a script would add it."""
    row = e.fields(hostname="localhost")
    row |= {"user": "root", "host_key": e.fresh.host_key}
    row |= {"desired": {"state": "enabled", "at": r.now()}}
    e.world.database.run(r.table("hypervisors").insert(row))
    e.world.wait_online(row["id"])
    return str(row["id"])


def test_our_line_goes_and_every_other_stays(enrolling: Enrolling) -> None:
    e = enrolling
    key = own_key(e)
    others = f"# by hand: {key}\n{FOREIGN_KEY}\n\n"
    e.put_authorized_keys(f'{others}from="127.0.0.0/8" ssh-ed25519 {key} mine\n')
    e.fresh.exec(["chmod", "700", f"{HOME}/.ssh"])
    name = enrolled(e)
    e.fresh.exec(["chmod", "640", FILE])
    delete(e, name)
    wait_removed(e, name)
    assert told(e, name)["key"] == "removed"
    assert e.fresh.exec(["cat", FILE]).stdout == others
    assert e.fresh.exec(["stat", "-c", "%a", FILE]).stdout.strip() == "640"
    assert e.fresh.exec(["ls", "-A", f"{HOME}/.ssh"]).stdout.split() == ["authorized_keys"]
    again = e.add(trust_new_key=True)
    e.wait_enrolment(again, "done")
    e.world.wait_online(again)


def test_a_host_of_two_rows_keeps_the_key_until_the_last_is_deleted(enrolling: Enrolling) -> None:
    e = enrolling
    first = enrolled(e)
    second = add_twin(e)
    delete(e, first)
    wait_removed(e, first)
    assert (told(e, first)["key"], len(e.authorized_keys())) == ("kept", 1)
    assert second in told(e, first)["message"]
    delete(e, second)
    wait_removed(e, second)
    assert (told(e, second)["key"], e.authorized_keys()) == ("removed", [])


def test_two_rows_of_a_host_deleted_at_once_leave_no_key(enrolling: Enrolling) -> None:
    e = enrolling
    first = enrolled(e)
    second = add_twin(e)
    delete(e, first, second)
    wait_removed(e, first, second)
    assert {told(e, first)["key"], told(e, second)["key"]} == {"kept", "removed"}
    assert e.authorized_keys() == []


def test_a_disabled_host_is_visited_once_more(enrolling: Enrolling) -> None:
    e = enrolling
    name = enrolled(e)
    disabled = {"desired": {"state": "disabled", "at": r.now()}}
    e.world.database.run(r.table("hypervisors").get(name).update(disabled))
    e.world.wait_until(
        lambda: e.row(name)["observed"]["message"] == "It is disabled.", "it is disabled"
    )
    delete(e, name)
    wait_removed(e, name)
    assert (told(e, name)["key"], e.authorized_keys()) == ("removed", [])


def test_a_host_that_is_dead_does_not_hold_its_removal_up(enrolling: Enrolling) -> None:
    e = enrolling
    name = enrolled(e)
    e.fresh.freeze()
    try:
        delete(e, name)
        wait_removed(e, name)
    finally:
        e.fresh.thaw()
    said = told(e, name)
    assert said["key"] == "left"
    assert "may still be in ~/.ssh/authorized_keys" in said["message"]
    assert len(e.authorized_keys()) == 1
