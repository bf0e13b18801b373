"""Every state pair has its decision, and none of them can lose anything.

What becomes of guests that ended is in test_guest_ends.py, of those of an emptied host in
test_emptied_hosts.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from db.states import Activity, Desired, Kind, Observed, Reason
from engine.actions import (
    AskShutdown,
    ChangeMedia,
    CreateDisks,
    DeleteDisks,
    Fail,
    Forget,
    Hold,
    PowerOff,
    RemoveRow,
    Rest,
    Resume,
    Settle,
    Start,
    Suspend,
    Wait,
)
from engine.decisions import RULES, decide, wish_record
from engine.placement import Placed, Refused
from engine.sight import Facts, Knowledge, Making
from tests.engine.domain_cases import (
    AT,
    FACTS_OF,
    FAILURES,
    HOST,
    ID,
    NOW,
    ON_A_HOST,
    decide_for,
    make_row,
)

EXPECTED: dict[tuple[Desired, Observed, bool], type] = {
    (Desired.STOPPED, Observed.ABSENT, True): CreateDisks,
    (Desired.STOPPED, Observed.ABSENT, False): CreateDisks,
    (Desired.STOPPED, Observed.STOPPED, True): Rest,
    (Desired.STOPPED, Observed.STOPPED, False): Rest,
    (Desired.STOPPED, Observed.STARTED, True): AskShutdown,
    (Desired.STOPPED, Observed.STARTED, False): AskShutdown,
    (Desired.STOPPED, Observed.PAUSED, True): PowerOff,
    (Desired.STOPPED, Observed.PAUSED, False): PowerOff,
    (Desired.STOPPED, Observed.UNKNOWN, True): Wait,
    (Desired.STOPPED, Observed.UNKNOWN, False): Wait,
    (Desired.STARTED, Observed.ABSENT, True): CreateDisks,
    (Desired.STARTED, Observed.ABSENT, False): CreateDisks,
    (Desired.STARTED, Observed.STOPPED, True): Start,
    (Desired.STARTED, Observed.STOPPED, False): Rest,
    (Desired.STARTED, Observed.STARTED, True): Rest,
    (Desired.STARTED, Observed.STARTED, False): Rest,
    (Desired.STARTED, Observed.PAUSED, True): Resume,
    (Desired.STARTED, Observed.PAUSED, False): Rest,
    (Desired.STARTED, Observed.UNKNOWN, True): Wait,
    (Desired.STARTED, Observed.UNKNOWN, False): Wait,
    (Desired.PAUSED, Observed.ABSENT, True): CreateDisks,
    (Desired.PAUSED, Observed.ABSENT, False): CreateDisks,
    (Desired.PAUSED, Observed.STOPPED, True): Rest,
    (Desired.PAUSED, Observed.STOPPED, False): Rest,
    (Desired.PAUSED, Observed.STARTED, True): Suspend,
    (Desired.PAUSED, Observed.STARTED, False): Suspend,
    (Desired.PAUSED, Observed.PAUSED, True): Rest,
    (Desired.PAUSED, Observed.PAUSED, False): Rest,
    (Desired.PAUSED, Observed.UNKNOWN, True): Wait,
    (Desired.PAUSED, Observed.UNKNOWN, False): Wait,
    (Desired.DELETED, Observed.ABSENT, True): RemoveRow,
    (Desired.DELETED, Observed.ABSENT, False): RemoveRow,
    (Desired.DELETED, Observed.STOPPED, True): DeleteDisks,
    (Desired.DELETED, Observed.STOPPED, False): DeleteDisks,
    (Desired.DELETED, Observed.STARTED, True): PowerOff,
    (Desired.DELETED, Observed.STARTED, False): PowerOff,
    (Desired.DELETED, Observed.PAUSED, True): PowerOff,
    (Desired.DELETED, Observed.PAUSED, False): PowerOff,
    (Desired.DELETED, Observed.UNKNOWN, True): Wait,
    (Desired.DELETED, Observed.UNKNOWN, False): Wait,
}
"""The architecture's table, written down a second time by hand."""

DRAINED: dict[tuple[Desired, Observed], tuple[type, type]] = {
    (Desired.STOPPED, Observed.STARTED): (AskShutdown, PowerOff),
    (Desired.STARTED, Observed.STARTED): (AskShutdown, PowerOff),
    (Desired.STARTED, Observed.PAUSED): (Resume, PowerOff),
    (Desired.PAUSED, Observed.STARTED): (AskShutdown, PowerOff),
    (Desired.PAUSED, Observed.PAUSED): (Resume, PowerOff),
}
"""While its hypervisor is emptied: by asking, and by force. Everything else is as it ever was."""

FORCED = {
    (Desired.STOPPED, Observed.STARTED): PowerOff,
    (Desired.DELETED, Observed.UNKNOWN): Forget,
}
"""Where `force` makes a difference."""


def test_the_rules_cover_every_pair() -> None:
    assert set(RULES) == set(itertools.product(Desired, Observed))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(("desired", "seen", "new"), list(EXPECTED))
def test_the_state_table(kind: Kind, desired: Desired, seen: Observed, new: bool) -> None:
    for force in (False, True):
        decision = decide_for(desired, seen, kind=kind, handled=not new, force=force)
        assert decision.sight.state is seen
        expected = EXPECTED[desired, seen, new]
        if force:
            expected = FORCED.get((desired, seen), expected)
        assert isinstance(decision.action, expected), decision


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("desired", "seen", "new"), list(EXPECTED))
def test_the_state_table_while_the_hypervisor_is_emptied(
    desired: Desired, seen: Observed, new: bool, force: bool
) -> None:
    facts = dataclasses.replace(FACTS_OF[seen], draining={HOST: force})
    action = decide_for(desired, seen, facts, handled=not new).action
    asked, forced = DRAINED.get((desired, seen), (EXPECTED[desired, seen, new],) * 2)
    assert isinstance(action, forced if force else asked), action
    if isinstance(action, AskShutdown):
        assert action.drain is (desired is not Desired.STOPPED)


def all_cases() -> list[dict[str, Any]]:
    return [
        {"desired": d, "seen": s, "handled": h, "force": f, "failure": FAILURES[name], "kind": k}
        for d, s, h, f, name, k in itertools.product(
            Desired, Observed, (False, True), (False, True), FAILURES, Kind
        )
    ]


def all_facts(seen: Observed) -> list[Facts]:
    base = FACTS_OF[seen]
    refused = Refused(Reason.NO_CAPACITY, "no room")
    return [
        dataclasses.replace(base, **changes)
        for changes in (
            {},
            {"placement": refused},
            {"parent_problem": "not yet"},
            {"disk_host_problem": "none online"},
            {"pool_refused": "not shared"},
            {"children": 2},
            {"leaving_children": 1},
            {"deletion_begun": True, "children": 2},
            {"hosts": {HOST: Knowledge.PENDING}},
            {"hosts": {HOST: Knowledge.LOST}},
            {"hosts": {HOST: Knowledge.FENCED}},
            {"hosts": {HOST: Knowledge.LISTED}},
            {"foreign": frozenset({HOST})},
            {"has_ledger": True},
            {"making": Making(NOW)},
            {"unsettled": True},
            {"draining": {HOST: False}},
            {"draining": {HOST: True}},
            {"draining": {HOST: False}, "powered_off": True},
            {"draining": {"another": True}},
        )
    ]


def test_whatever_the_facts_nothing_is_lost() -> None:
    """Kind x desired x observed x (new|handled) x force x failure x facts, all of them."""
    checked = 0
    for case in all_cases():
        for facts in all_facts(case["seen"]):
            decision = decide_for(facts=facts, **case)
            action, sight = decision.action, decision.sight
            where = (case, facts, decision)
            checked += 1
            if isinstance(action, DeleteDisks | RemoveRow | Forget):
                assert case["desired"] is Desired.DELETED or facts.deletion_begun, where
                assert not facts.children or facts.deletion_begun, where
            if isinstance(action, DeleteDisks | RemoveRow):
                assert sight.state in (Observed.STOPPED, Observed.ABSENT), where
            if isinstance(action, RemoveRow):
                assert not facts.has_ledger, where
            if isinstance(action, Forget):
                assert sight.state is Observed.UNKNOWN, where
                assert case["force"], where
            if isinstance(action, CreateDisks):
                assert action.disks == facts.unmade_disks, where
                assert sight.state is not Observed.UNKNOWN, where
                assert case["desired"] is not Desired.DELETED, where
                assert not facts.deletion_begun, where
            if isinstance(action, Start):
                assert case["desired"] is Desired.STARTED, where
                assert sight.state is Observed.STOPPED, where
                assert not case["handled"], where
            if isinstance(action, Suspend | Resume | AskShutdown | PowerOff):
                assert sight.state in (Observed.STARTED, Observed.PAUSED), where
                assert action.hypervisor in facts.seen, where
            if isinstance(action, PowerOff):
                wished_down = case["desired"] in (Desired.STOPPED, Desired.DELETED)
                emptied = facts.draining.get(HOST, False)
                assert wished_down or facts.deletion_begun or emptied, where
            if isinstance(action, AskShutdown) and HOST not in facts.draining:
                assert case["desired"] is Desired.STOPPED, where
            if facts.making and sight.state in (Observed.STOPPED, Observed.ABSENT):
                assert isinstance(action, Wait | Hold), where
            if facts.unsettled:
                assert isinstance(action, Settle | Rest | Hold), where
            if facts.foreign:
                assert isinstance(action, Fail | Hold), where
            if sight.state is Observed.UNKNOWN:
                assert isinstance(action, Wait | Forget | Rest | Fail | Hold | Settle), where
    assert checked == 4 * 5 * 2 * 2 * 5 * 3 * 20


@pytest.mark.parametrize("desired", list(Desired))
def test_a_desktop_of_which_a_template_is_made_waits_whatever_is_wished(desired: Desired) -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], making=Making(NOW))
    for handled, failure in itertools.product((True, False), FAILURES.values()):
        action = decide_for(
            desired, Observed.STOPPED, facts, handled=handled, failure=failure
        ).action
        assert isinstance(action, Wait)
        assert action.topics == (f"making/{ID}",)
        assert action.during is Activity.TEMPLATING


def test_a_template_begun_is_settled_before_a_failure_is_respected() -> None:
    facts = Facts(unmade_disks=("disk0",), has_ledger=True, unsettled=True)
    for desired in (Desired.STOPPED, Desired.DELETED):
        for name in ("none", "terminal", "due", "nonsense"):
            decision = decide_for(desired, Observed.ABSENT, facts, failure=FAILURES[name])
            assert isinstance(decision.action, Settle)
        waits = decide_for(desired, Observed.ABSENT, facts, failure=FAILURES["waits"])
        assert waits.action == Rest(until=FAILURES["waits"]["retry_at"])  # type: ignore[index]


def test_a_deletion_that_has_begun_is_final() -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], children=3, deletion_begun=True)
    decision = decide_for(Desired.DELETED, Observed.STOPPED, facts, kind=Kind.TEMPLATE)
    assert isinstance(decision.action, DeleteDisks)


@pytest.mark.parametrize("desired", list(Desired))
def test_no_later_wish_stops_a_deletion_that_has_begun(desired: Desired) -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], deletion_begun=True)
    for handled in (False, True):
        decision = decide_for(desired, Observed.STOPPED, facts, handled=handled)
        assert isinstance(decision.action, DeleteDisks)


def test_a_template_in_use_is_not_deleted_and_the_number_is_named() -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], children=3)
    decision = decide_for(Desired.DELETED, Observed.STOPPED, facts, kind=Kind.TEMPLATE)
    assert isinstance(decision.action, Fail)
    assert decision.action.reason == Reason.IN_USE
    assert "3 other domains" in decision.action.message


def test_a_template_whose_children_are_being_deleted_waits_for_them() -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], leaving_children=1)
    decision = decide_for(Desired.DELETED, Observed.STOPPED, facts, kind=Kind.TEMPLATE)
    assert isinstance(decision.action, Wait)
    assert decision.action.topics == (f"children/{ID}",)


@pytest.mark.parametrize("name", ["waits"])
@pytest.mark.parametrize("desired", list(Desired))
def test_a_transient_failure_delays_its_own_wish_alone(name: str, desired: Desired) -> None:
    waiting = decide_for(desired, Observed.STOPPED, failure=FAILURES[name])
    assert waiting.action == Rest(until=FAILURES[name]["retry_at"])  # type: ignore[index]
    forced = make_row(desired, Observed.STOPPED, failure=FAILURES[name])
    forced["desired"] = {**forced["desired"], "at": NOW}
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], placement=Placed(HOST))
    assert isinstance(decide(forced, facts, NOW).action, EXPECTED[desired, Observed.STOPPED, True])


def test_forcing_a_stop_that_failed_acts_at_once() -> None:
    row = make_row(Desired.STOPPED, Observed.STARTED, failure=FAILURES["waits"])
    row["desired"]["force"] = True
    row["observed"]["failure"]["wish"] = {**row["desired"], "force": False}
    assert decide(row, FACTS_OF[Observed.STARTED], NOW).action == PowerOff(HOST)


def test_a_terminal_failure_waits_for_a_new_wish() -> None:
    failed = decide_for(
        Desired.STARTED, Observed.STOPPED, failure=FAILURES["terminal"], handled=True
    )
    assert failed.action == Rest()
    again = decide_for(Desired.STARTED, Observed.STOPPED, failure=FAILURES["terminal"])
    assert again.action == Start(HOST)


def test_a_row_made_valid_again_goes_on() -> None:
    failure = {"reason": "InvalidRow", "terminal": True}
    decision = decide_for(Desired.STARTED, Observed.STARTED, failure=failure, handled=True)
    assert decision.action == Rest(finished=True)


def test_asking_becomes_powering_off_at_the_deadline_kept_in_the_row() -> None:
    def stopping(deadline: datetime) -> Any:
        activity = {"name": "stopping", "deadline": deadline}
        return decide_for(Desired.STOPPED, Observed.STARTED, activity=activity).action

    later, earlier = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)
    assert stopping(later) == AskShutdown(HOST, later)
    assert stopping(earlier) == PowerOff(HOST)


def test_the_guest_is_asked_again_but_not_all_the_time() -> None:
    activity = {"name": "stopping", "deadline": NOW + timedelta(seconds=30)}
    later = NOW + timedelta(seconds=4)
    just = dataclasses.replace(FACTS_OF[Observed.STARTED], ask_again_at=later)
    rest = decide_for(Desired.STOPPED, Observed.STARTED, just, activity=activity).action
    assert rest == Rest(until=later)
    before = dataclasses.replace(FACTS_OF[Observed.STARTED], ask_again_at=NOW)
    again = decide_for(Desired.STOPPED, Observed.STARTED, before, activity=activity).action
    assert isinstance(again, AskShutdown)


def test_a_host_just_connecting_is_waited_for_without_a_word() -> None:
    for seen in ON_A_HOST:
        facts = Facts(hosts={HOST: Knowledge.PENDING}, has_disks=True)
        for desired in Desired:
            assert decide_for(desired, seen, facts).action == Hold((f"host/{HOST}",))


def test_an_emptied_observed_is_healed_from_the_engines_own_tables() -> None:
    for nonsense in ({}, None, "text", 5, {"state": "exploded", "hypervisor": 7, "activity": "x"}):
        row = {**make_row(Desired.STARTED, Observed.STARTED), "observed": nonsense}
        stopped = decide(row, FACTS_OF[Observed.STOPPED], NOW)
        assert stopped.sight.state is Observed.STOPPED
        facts = Facts(hosts={HOST: Knowledge.LOST}, last_host=HOST, has_disks=True)
        unknown = decide(row, facts, NOW)
        assert unknown.sight.state is Observed.UNKNOWN
        assert isinstance(unknown.action, Wait)


def test_a_disk_added_later_is_made_before_the_start() -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], unmade_disks=("second",))
    assert decide_for(Desired.STARTED, Observed.STOPPED, facts).action == CreateDisks(("second",))


def test_wishes_in_failures_name_force() -> None:
    row = make_row(Desired.STOPPED, Observed.STARTED, force=True)
    decision = decide(row, FACTS_OF[Observed.STARTED], NOW)
    assert wish_record(decision.wish) == {"state": "stopped", "at": AT, "force": True}


def test_a_start_waits_for_the_media_in_its_drives() -> None:
    facts = dataclasses.replace(
        FACTS_OF[Observed.STOPPED],
        media_problem="The medium 'Debian' is not available yet.",
        media_topics=("media/1",),
        placement=Placed(HOST),
    )
    action = decide(make_row(Desired.STARTED, Observed.STOPPED), facts, NOW).action
    assert isinstance(action, Wait)
    assert (action.reason, action.topics) == (Reason.MEDIA_NOT_READY, ("media/1",))
    stopped = decide(make_row(Desired.STOPPED, Observed.STOPPED), facts, NOW).action
    assert stopped == Rest(finished=True)


@pytest.mark.parametrize("handled", [False, True])
def test_media_are_changed_while_it_runs_and_only_then(handled: bool) -> None:
    facts = dataclasses.replace(FACTS_OF[Observed.STARTED], media_differ=True)
    row = make_row(Desired.STARTED, Observed.STARTED, handled=handled)
    assert decide(row, facts, NOW).action == ChangeMedia(HOST)
    paused = dataclasses.replace(FACTS_OF[Observed.PAUSED], media_differ=True)
    row = make_row(Desired.PAUSED, Observed.PAUSED, handled=handled)
    assert not isinstance(decide(row, paused, NOW).action, ChangeMedia)


def test_a_copy_of_an_image_waits_for_the_image() -> None:
    row = make_row(Desired.STOPPED, Observed.ABSENT) | {"origin": {"media": "7"}}
    facts = dataclasses.replace(FACTS_OF[Observed.ABSENT], parent_problem="It is not there.")
    action = decide(row, facts, NOW).action
    assert isinstance(action, Wait)
    assert (action.reason, action.topics) == (Reason.MEDIA_NOT_READY, ("media/7",))
