"""A host that lost the keys of viewer tickets, or has others, gets them from the next check."""

from __future__ import annotations

from typing import Any

from db.connection import r
from tests.enrol.conftest import Enrolling
from tests.enrol.test_enrolment import viewer_answers

KEY = "/etc/isard/tickets/k1.pem"


PLAIN = "It checks viewer tickets with the key k1."
PUT = "the engine has put it there"


def check_again(e: Enrolling, name: str, said: str) -> dict[str, Any]:
    """Have it checked, until the check of the keys ends with this."""
    wish = {"desired": {"state": "enabled", "at": r.now()}}
    e.world.database.run(r.table("hypervisors").get(name).update(wish))

    found: list[dict[str, Any]] = []

    def is_said() -> bool:
        for check in e.row(name)["observed"]["checks"]:
            message = check["message"] if check["name"] == "tickets" else ""
            if message == said or (said != PLAIN and said in message):
                found.append(check)
        return bool(found)

    e.world.wait_until(is_said, said)
    return found[0]


def test_keys_are_put_there_again_by_themselves(enrolling: Enrolling) -> None:
    e = enrolling
    name = e.add(trust_new_key=True)
    e.wait_enrolment(name, "done")
    e.world.wait_online(name)
    right = (e.fresh.ticket_keys / "k1.pem").read_text()
    (e.fresh.ticket_keys / "theirs.pem").write_text("another installation's")
    e.fresh.exec(["rm", KEY])
    assert check_again(e, name, PUT)["ok"]
    assert (e.fresh.ticket_keys / "k1.pem").read_text() == right
    assert viewer_answers(e, name) == b"101"
    check_again(e, name, PLAIN)
    e.fresh.exec(["tee", KEY], input=right.replace("M", "N"))
    assert check_again(e, name, PUT)["ok"]
    assert (e.fresh.ticket_keys / "k1.pem").read_text() == right
    check_again(e, name, PLAIN)
    assert (e.fresh.ticket_keys / "theirs.pem").read_text() == "another installation's"


def test_a_host_that_takes_no_key_says_why_and_keeps_its_name(enrolling: Enrolling) -> None:
    e = enrolling
    name = e.add(trust_new_key=True)
    e.wait_enrolment(name, "done")
    e.world.wait_online(name)
    e.fresh.exec(["tee", "/etc/isard/hypervisor_id"], input="another-name\n")
    e.fresh.exec(["sh", "-c", f"rm {KEY} && mkdir {KEY}.new"])
    try:
        check = check_again(e, name, "could not be put there")
        assert (check["ok"], check["level"]) == (False, "warning")
        assert f"{KEY}.new" in check["message"]
        assert "Set up access" in check["remedy"]
    finally:
        e.fresh.exec(["rmdir", f"{KEY}.new"])
    assert check_again(e, name, PUT)["ok"]
    assert e.fresh.exec(["cat", "/etc/isard/hypervisor_id"]).stdout == "another-name\n"
