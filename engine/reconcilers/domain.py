"""One domain, from key to row: read it, gather the facts, decide, do it, write what came of it.

The loop goes on as long as a step brings the row further, so a start is one visit and not five. An
action that needs a host moves to that host's lane first. Errors become `observed.failure` here, in
the two kinds they were raised in; a lost host is no failure of the domain but a fact, seen the next
time round. Called by engine/controller.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from db import observed as door
from db import queries
from db.logs import get_logger
from db.rowcheck import RowProblem, check_domain, is_uuid
from db.states import Reason, read_wish
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
    Renew,
    Rest,
    Resume,
    Settle,
    Start,
    Suspend,
    Wait,
)
from engine.cache import QUEUED
from engine.decisions import Decision, decide, needs_room, wish_record
from engine.disk_locks import Held
from engine.errors import EngineError, HostLost, Terminal
from engine.reconcilers import Context, Elsewhere, Outcome
from engine.reconcilers.domain_disks import Disks
from engine.reconcilers.domain_facts import gather, look_around
from engine.reconcilers.domain_power import Power, shown_disks, shown_interfaces
from engine.reconcilers.domain_reading import Reading, in_order, read
from engine.reconcilers.domain_room import waiting_since
from engine.reconcilers.domain_templates import Templates
from engine.reconcilers.observation import Changes, activity, compose, failure_of, invalid_row
from engine.sight import NEVER_MADE, Facts, Sight, observed_of, see
from engine.workqueue import Key

log = get_logger(__name__)

STEPS_MAX = 12
"""More steps than any wish needs: a row that goes round in circles lets others have a turn."""
HELD_AGAIN_S = 2.0
UNHEARD_AGAIN_S = 5.0
OF_A_RUNNING_GUEST = ("consoles", "thumbnails", "domain_stats")


class DomainReconciler:
    def __init__(self, context: Context) -> None:
        self._c = context
        self._power = Power(context)
        self._templates = Templates(context)
        self._disks = Disks(context, self._templates)

    def reconcile(self, key: Key, lane: str) -> Outcome:
        """What room it holds is given back, unless it goes on elsewhere at once."""
        moves = False
        try:
            outcome = self._go_on(key, lane)
            moves = outcome.move_to not in (None, lane)
            return outcome
        finally:
            if not moves and self._c.room.release(key.id):
                self._c.topics.fire("room")

    def _go_on(self, key: Key, lane: str) -> Outcome:
        powered_off = False
        for _ in range(STEPS_MAX):
            mark = self._c.topics.mark()
            reading = read(self._c, key.id)
            try:
                if reading is None:
                    return self._forget(key, lane)
                # `observed` is ours to heal, whatever a script has put there.
                problem = check_domain({**reading.row, "observed": {}})
                if problem is not None:
                    late = self._settle_unheard(reading.templating, lane)
                    return late or self._report_invalid(reading, lane, problem)
                decision, outcome = self._take_step(reading, lane, powered_off)
            except Elsewhere as elsewhere:
                return Outcome(move_to=elsewhere.lane)
            if outcome is not None:
                return replace(outcome, mark=mark)
            powered_off = powered_off or isinstance(decision.action, PowerOff)
        log.warning("reconcile_in_circles", key=str(key))
        return Outcome(again_s=5.0)

    def _take_step(
        self, reading: Reading, lane: str, powered_off: bool
    ) -> tuple[Decision, Outcome | None]:
        try:
            gathered = gather(self._c, reading, lane)
        except HostLost:
            raise
        except EngineError as error:
            return self._fail_undecided(reading, lane, error)
        facts = replace(
            gathered, powered_off=powered_off, ask_again_at=self._power.ask_again_at(reading.id)
        )
        decision = decide(reading.row, facts, self._c.now())
        return decision, self._perform(reading, decision, facts, lane)

    def _fail_undecided(
        self, reading: Reading, lane: str, error: EngineError
    ) -> tuple[Decision, Outcome]:
        """What a decision rests on could not be had; what is seen of it is told with the reason."""
        sight = see(reading.row, look_around(self._c, reading, lane))
        undecided = Decision(sight, read_wish(reading.row["desired"]), Hold(()))
        if sight.pending:
            return undecided, Outcome(topics=(f"host/{sight.hypervisor}",))
        return undecided, self._fail(reading, undecided, error)

    def _perform(
        self, reading: Reading, decision: Decision, facts: Facts, lane: str
    ) -> Outcome | None:
        """None: it got further, decide again."""
        try:
            return self._act(reading, decision, facts, lane)
        except HostLost as error:
            log.info("host_lost_in_step", domain=reading.id, error=str(error))
            return Outcome(again_s=1.0)
        except Held as held:
            return Outcome(again_s=HELD_AGAIN_S, topics=(held.topic,))
        except EngineError as error:
            return self._fail(reading, decision, error)

    def _act(self, reading: Reading, decision: Decision, facts: Facts, lane: str) -> Outcome | None:
        match decision.action:
            case Rest(finished, until):
                return self._rest(reading, decision, facts, finished, until)
            case Hold(topics):
                return Outcome(topics=topics)
            case Wait() as wait:
                return self._wait(reading, decision, wait)
            case Fail(reason, message):
                return self._fail(reading, decision, Terminal(reason, message))
            case CreateDisks(disk_ids):
                made = self._disks.create(reading, decision, disk_ids, lane)
                return self._conclude(reading, made, lane) if made else None
            case Renew():
                self._write(reading, decision, {"renewed": True})
                return None
            case Settle():
                show = self._templates.show_on(reading, decision.sight)
                self._templates.settle(reading.templating or {}, lane, show)
                return None
            case Start(hypervisor):
                return self._power.start(reading, decision, hypervisor, lane)
            case AskShutdown() as ask:
                return self._power.ask_shutdown(reading, decision, ask, lane)
            case PowerOff(hypervisor):
                self._power.power_off(reading, hypervisor, lane)
                return None
            case ChangeMedia(hypervisor):
                self._power.change_media(reading, decision, hypervisor, lane)
                return None
            case Suspend(hypervisor):
                self._power.suspend(reading, hypervisor, lane)
                return None
            case Resume(hypervisor):
                self._power.resume(reading, hypervisor, lane)
                return None
            case DeleteDisks():
                return self._disks.delete(reading, decision, lane)
            case RemoveRow():
                return self._disks.remove_row(reading)
            case Forget(hypervisor):
                return self._disks.forget(reading, hypervisor)

    def _conclude(self, reading: Reading, made: list[dict[str, Any]], lane: str) -> Outcome | None:
        """Disks are there. Where that is all that was wished, the records say so in one write with
        `observed`; otherwise they are written, and the row is read and decided anew.
        """
        if not needs_room(reading.row):
            news = {record["id"]: record for record in made}
            kept = [record for record in reading.records if record["id"] not in news]
            after = replace(reading, records=in_order([*kept, *made]))
            facts = gather(self._c, after, lane)
            decision = decide(after.row, facts, self._c.now())
            if isinstance(decision.action, Rest):
                action = decision.action
                return self._rest(after, decision, facts, action.finished, action.until, made)
        self._disks.record(made)
        return None

    def _rest(
        self,
        reading: Reading,
        decision: Decision,
        facts: Facts,
        finished: bool,
        until: datetime | None,
        records: Sequence[dict[str, Any]] = (),
    ) -> Outcome:
        sight = decision.sight
        changes = self._shown(reading, sight)
        if sight.hypervisor in facts.seen and self._lacks_console(reading, sight.hypervisor):
            changes |= self._power.adopt(reading, sight.hypervisor)
        if finished:
            changes["finished"] = decision.wish
        elif not sight.may_run:
            changes["activity"] = None
        self._write(reading, decision, changes, records)
        if not sight.may_run:
            self._clear_console(reading)
        again_s = None if until is None else max(0.05, (until - self._c.now()).total_seconds())
        return Outcome(again_s=again_s)

    def _wait(self, reading: Reading, decision: Decision, wait: Wait) -> Outcome:
        changes: dict[str, Any] = {"reason": wait.reason, "message": wait.message}
        if wait.reason in QUEUED and reading.request is not None:
            since = waiting_since(reading.row, self._c.now())
            place, of = self._c.room.place_in_queue(reading.row["id"], reading.request, since)
            changes["queue"] = {"position": place, "of": of, "since": since}
            changes["message"] = f"{wait.message} Its place in the queue: {place} of {of}."
        if not decision.sight.may_run:
            changes |= {"activity": None, "failure": None}
        if wait.during is not None and wait.until is not None:
            changes["activity"] = activity(wait.during, "template", wait.until)
        self._write(reading, decision, {**self._shown(reading, decision.sight), **changes})
        return Outcome(topics=wait.topics)

    def _fail(self, reading: Reading, decision: Decision, error: EngineError) -> Outcome:
        """Show the error in the row; where it is transient come back when it may help."""
        action, now = decision.action, self._c.now()
        if error.reason == Reason.DISK_MISSING and isinstance(action, Start):
            error = self._disks.diagnose(reading, error, action.hypervisor)
        host = getattr(action, "hypervisor", None)
        failure = failure_of(error, reading.row, wish_record(decision.wish), now, host)
        log.warning(
            "step_failed",
            domain=reading.id,
            action=type(action).__name__,
            reason=error.reason,
            terminal=error.terminal,
            error=error.message,
        )
        changes: dict[str, Any] = {"reason": error.reason, "message": error.message}
        if error.terminal:
            changes["finished"] = decision.wish
        elif not decision.sight.may_run:
            changes["activity"] = None
        changes |= {"failure": failure}
        self._write(reading, decision, {**self._shown(reading, decision.sight), **changes})
        retry_at = failure.get("retry_at")
        return Outcome() if retry_at is None else Outcome((retry_at - now).total_seconds())

    def _report_invalid(self, reading: Reading, lane: str, problem: RowProblem) -> Outcome:
        """The row cannot be acted upon; what is seen of it is still told."""
        row = reading.row
        known = isinstance(row["id"], str) and is_uuid(row["id"])
        sight = see(row, look_around(self._c, reading, lane)) if known else NEVER_MADE
        if sight.pending:
            return Outcome(topics=(f"host/{sight.hypervisor}",))
        changes = Changes(
            failure=invalid_row(problem.field, problem.message),
            reason=Reason.INVALID_ROW,
            message=problem.message,
        )
        self._c.write_domain(row, compose(row, sight, changes, self._c.now()))
        return Outcome()

    def _shown(self, reading: Reading, sight: Sight) -> dict[str, Any]:
        """What `observed` repeats of the ledger and derives from the row."""
        unit = self._c.units.get(sight.hypervisor) if sight.may_run else None
        addresses = unit.addresses if unit else {}
        changes: dict[str, Any] = {"interfaces": shown_interfaces(reading.row, addresses)}
        if reading.records:
            changes["disks"] = shown_disks(reading)
        return changes

    def _lacks_console(self, reading: Reading, hypervisor: str | None) -> bool:
        viewer = observed_of(reading.row).get("viewer")
        known = viewer.get("hypervisor") if isinstance(viewer, dict) else None
        return known != hypervisor or reading.last_host != hypervisor

    def _clear_console(self, reading: Reading) -> None:
        """Passwords and pictures of a guest that is down are of no use to anybody."""
        if reading.last_host is not None:
            self._disks.drop(OF_A_RUNNING_GUEST, reading.row["id"])

    def _write(
        self,
        reading: Reading,
        decision: Decision,
        changes: dict[str, Any],
        records: Sequence[dict[str, Any]] = (),
    ) -> None:
        observed = compose(reading.row, decision.sight, Changes(**changes), self._c.now())
        self._c.write_domain(reading.row, observed, records)

    def _forget(self, key: Key, lane: str) -> Outcome:
        """The row is gone. What is left of it elsewhere is for the list of orphans."""
        self._power.forget(str(key.id))
        door.drop_by_index(self._c.database, "domain_windows", "domain", key.id)
        found = queries.list_by_index(self._c.database, "disks", "template", key.id)
        late = self._settle_unheard(found[0] if found else None, lane)
        return late or Outcome(gone=True)

    def _settle_unheard(self, record: dict[str, Any] | None, lane: str) -> Outcome | None:
        """A template was being made, and its row is gone or nonsense: its desktop still waits."""
        if record is None:
            return None
        try:
            self._templates.settle(record, lane)
        except Held:
            return Outcome(again_s=HELD_AGAIN_S)
        except EngineError as error:
            log.warning("template_not_settled", id=record["id"], error=str(error))
            return Outcome(again_s=UNHEARD_AGAIN_S)
        return None
