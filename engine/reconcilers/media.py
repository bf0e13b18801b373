"""One medium, from key to row: read it, decide, fetch or remove its file, write what came of it.

A download is one visit that may last for hours, so it runs in its host's lane of downloads and
looks at the followed row as it goes: called off or deleted, it ends at once. It takes a turn
before it moves to that lane; what has no turn waits outside, where it can still be called off. The
ledger (table `disks`, `media/<id>`) is written before the storage is touched, so what was begun is
found again, whatever a script makes of `observed`. The writing of both is in
engine/reconcilers/media_row.py. Called by engine/controller.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from db import observed as door
from db import queries
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from db.rowcheck import RowProblem, check_media
from db.states import TASK_ENDED, MediaDesired, MediaState, Reason
from db.upload_tickets import sign
from engine.download_turns import Turns
from engine.errors import EngineError, HostLost, Terminal
from engine.executor import LANE_SIZES, disk_lane, download_lane
from engine.media_decisions import (
    Fail,
    Fetch,
    MediaDecision,
    MediaFacts,
    RemoveFiles,
    RemoveRow,
    Rest,
    Wait,
    decide_media,
)
from engine.reconcilers import Context, Outcome
from engine.reconcilers.disk_places import DiskSite, find_media_site, prove_storage
from engine.reconcilers.media_row import (
    NOTHING_GOES_ON,
    NOTHING_IS_THERE,
    Medium,
    media_wish_record,
)
from engine.reconcilers.observation import failure_of, invalid_row
from engine.reconcilers.owners import pool_refused
from engine.storage.addresses import read_allowed
from engine.storage.downloads import Source, Stored, uploaded
from engine.storage.exports import ExportWork
from engine.storage.media_paths import MediaPlace, place_media
from engine.storage.pace import Pace
from engine.workqueue import Key

log = get_logger(__name__)

STEPS_MAX = 8
PROGRESS_S = 1.0


class CalledOff(Exception):
    """The wish has changed while it was being fetched: decide anew."""


class MediaReconciler:
    def __init__(self, context: Context) -> None:
        self._c = context
        self._turns = Turns(LANE_SIZES["downloads"], context.topics.fire)

    def reconcile(self, key: Key, lane: str) -> Outcome:
        outcome = Outcome(again_s=5.0)
        try:
            for _ in range(STEPS_MAX):
                mark = self._c.topics.mark()
                found = queries.read_media(self._c.database, key.id)
                if found["row"] is None:
                    outcome = Outcome(gone=True)
                    break
                step = Step(self._c, self._turns, found["row"], found["record"], lane)
                decided = step.take()
                if decided is not None:
                    outcome = decided if decided.mark else _marked(decided, mark)
                    break
        finally:
            if outcome.move_to is None or not outcome.move_to.startswith("downloads/"):
                self._turns.give_back(key.id)
        return outcome


class Step:
    """One look at the row and the one thing done about it."""

    def __init__(
        self,
        context: Context,
        turns: Turns,
        row: dict[str, Any],
        record: dict[str, Any] | None,
        lane: str,
    ) -> None:
        self._c, self._turns, self._lane = context, turns, lane
        self.medium = Medium(context, row, record)
        self.site: DiskSite | None = None

    def take(self) -> Outcome | None:
        """None: it got further, decide again."""
        problem = check_media({**self.medium.row, "observed": {}})
        if problem is not None:
            return self._report_invalid(problem)
        decision = decide_media(self.medium.row, self._gather(), self._c.now())
        try:
            return self._act(decision)
        except CalledOff:
            log.info("download_called_off", media=self.medium.id)
            return None
        except HostLost as error:
            log.info("host_lost_in_step", media=self.medium.id, error=str(error))
            return Outcome(again_s=1.0)
        except EngineError as error:
            return self._fail(decision, error)

    def _gather(self) -> MediaFacts:
        record = self.medium.record or {}
        pool = str(record.get("pool") or self.medium.row.get("pool") or "default")
        self.site, problem = find_media_site(
            self._c,
            pool,
            self.medium.id,
            str(record["pool_path"]) if record.get("pool_path") else None,
        )
        is_here = record.get("state") == "made"
        users: list[dict[str, Any]] = []
        if self.medium.row["desired"]["state"] != MediaDesired.AVAILABLE:
            users = queries.list_media_users(self._c.database, self.medium.id)
        return MediaFacts(
            host_problem=problem,
            # What is there already stays there, and is looked at again.
            pool_refused=None if is_here else pool_refused(self._c, self.medium.row, pool),
            recorded=bool(self.medium.record),
            deletion_begun=record.get("state") == "deleting",
            users=tuple(sorted(str(user.get("name") or user["id"]) for user in users)),
        )

    def _act(self, decision: MediaDecision) -> Outcome | None:
        match decision.action:
            case Rest(finished, until):
                changes = {**NOTHING_GOES_ON, "failure": None} if finished else {}
                if finished:
                    changes |= {"state": MediaState.ABSENT, "for": media_wish_record(decision.wish)}
                self.medium.write(changes)
                return Outcome(again_s=_seconds_to(until, self._c.now()))
            case Wait(reason, message, topics):
                self.medium.write(
                    {**NOTHING_GOES_ON, "failure": None, "reason": reason, "message": message}
                )
                return Outcome(topics=topics)
            case Fail(reason, message):
                raise Terminal(reason, message, step="delete")
            case Fetch():
                return self._fetch(decision, self._require_site())
            case RemoveFiles():
                return self._remove_files(decision, self._require_site())
            case RemoveRow():
                return self._remove_row()

    def _await_export(self, decision: MediaDecision, site: DiskSite) -> Outcome:
        """Its file is written by a task (task_export.py): found, or waited for."""
        if self._lane != disk_lane(site.unit.id):
            return Outcome(move_to=disk_lane(site.unit.id))
        task_id = self.medium.row["source"]["task"]
        # Read before the storage is looked at: one that has ended has put there what it will.
        task = queries.get_row(self._c.database, "tasks", task_id)
        prove_storage(self._c, site, make=True)
        stored = site.unit.media.look(place_media(site.path, self.medium.id))
        if stored is not None:
            return self._say_available(decision, site, stored)
        observed = task.get("observed") if task else None
        seen = observed if isinstance(observed, Mapping) else {}
        if str(seen.get("state")) in TASK_ENDED:
            self._withdraw(site)
            message = f"The task that was to write it ended without it ({seen.get('message')})."
            raise Terminal(Reason.MEDIA_NOT_READY, message, step="task")
        message = "It is being written from the disks of a desktop or template."
        self.medium.write({**NOTHING_GOES_ON, "reason": Reason.MEDIA_NOT_READY, "message": message})
        return Outcome(topics=(f"parent/{task_id}",))

    def _withdraw(self, site: DiskSite) -> None:
        """What an export left unfinished whose engine died: nobody goes on with it. Ours by the
        ledger; a command that is still at it is waited for.
        """
        if (self.medium.record or {}).get("state") != "making":
            return
        self._c.lease.check()
        work = ExportWork(site.unit.ssh, self._c.installation)
        work.withdraw(place_media(site.path, self.medium.id))

    def _fetch(self, decision: MediaDecision, site: DiskSite) -> Outcome | None:
        if self.medium.row["source"].get("task"):
            return self._await_export(decision, site)
        lane = download_lane(site.unit.id)
        if not self._turns.take(site.unit.id, self.medium.id):
            message = f"Other downloads are under way on {site.unit.id!r}; it begins when one ends."
            self.medium.write(
                {**NOTHING_GOES_ON, "reason": Reason.WAITING_ITS_TURN, "message": message}
            )
            return Outcome(topics=(lane,), again_s=10.0)
        if self._lane != lane:
            return Outcome(move_to=lane)
        place = place_media(site.path, self.medium.id)
        self._c.lease.check()
        prove_storage(self._c, site, make=True)
        self.medium.keep_record(site, "making")
        stored = site.unit.media.look(place) or self._bring(site, place)
        return self._say_available(decision, site, stored)

    def _say_available(self, decision: MediaDecision, site: DiskSite, stored: Stored) -> Outcome:
        hardware = None
        if stored.path.endswith(".ova"):
            place = place_media(site.path, self.medium.id)
            hardware = site.unit.media.describe(place).as_field()
        self.medium.keep_record(site, "made", size=stored.size)
        self.medium.write(
            {
                **NOTHING_GOES_ON,
                "state": MediaState.AVAILABLE,
                "path": stored.path,
                "pool": site.pool,
                "size": stored.size,
                "hardware": hardware,
                "failure": None,
                "for": media_wish_record(decision.wish),
                **({"format": stored.format, "sha256": stored.sha256} if stored.sha256 else {}),
            }
        )
        door.drop_records(self._c.database, [("uploads", self.medium.id)])
        return Outcome()

    def _bring(self, site: DiskSite, place: MediaPlace) -> Stored:
        """The file, fetched, found right and published."""
        host, given = site.unit.media, self.medium.row["source"]
        self.medium.show(site, "ask")
        source = self._find_source(site)
        self._heed()
        limit = host.check_room(place, source.size)
        self.medium.show(site, "download")
        self._c.lease.check()
        watch = self._watch(site, None if source.size < 0 else source.size)
        host.fetch(place, source, limit=limit, on_bytes=watch)
        self.medium.show(site, "check")
        stored, extension = host.examine(place, str(self.medium.row["kind"]), given.get("sha256"))
        self._heed()
        self._c.lease.check()
        self.medium.show(site, "publish")
        host.publish(place, extension)
        return stored

    def _find_source(self, site: DiskSite) -> Source:
        given = self.medium.row["source"]
        if not given.get("upload"):
            config = queries.get_row(self._c.database, "config", "downloads")
            return site.unit.media.find_source(
                given["url"], read_allowed(config), trusts_http=bool(given.get("sha256"))
            )
        upload = queries.get_row(self._c.database, "uploads", self.medium.id)
        if upload is None:
            message = "What was uploaded is not there any more. Upload it again."
            raise Terminal(Reason.DOWNLOAD_FAILED, message, step="upload")
        ticket = sign(str(upload["key"]), self.medium.id, self._c.now().timestamp())
        return uploaded(str(upload["url"]), ticket, self.medium.id, int(upload["size"]))

    def _watch(self, site: DiskSite, total: int | None) -> Callable[[int], None]:
        pace = Pace(total)
        shown_at = 0.0

        def hear(size: int) -> None:
            nonlocal shown_at
            self._heed()
            pace.note(size)
            if pace.now_s - shown_at < PROGRESS_S:
                return
            shown_at = pace.now_s
            try:
                self.medium.show(site, "download", pace.as_progress())
            except DatabaseUnavailable as error:
                # The transfer goes on; how far it is can be said later.
                log.warning("progress_not_written", media=self.medium.id, error=str(error))

        return hear

    def _heed(self) -> None:
        """Raises CalledOff where the followed row's wish is no longer the one acted upon."""
        now = self._c.watcher.media.get(self.medium.id)
        if now is None or now.get("desired") != self.medium.row["desired"]:
            raise CalledOff

    def _remove_files(self, decision: MediaDecision, site: DiskSite) -> Outcome | None:
        if self._lane != disk_lane(site.unit.id):
            return Outcome(move_to=disk_lane(site.unit.id))
        self._c.lease.check()
        prove_storage(self._c, site, make=False)
        final = decision.wish.state is MediaDesired.DELETED
        self.medium.keep_record(site, "deleting" if final else "making")
        deadline = self._c.now() + timedelta(seconds=self._c.settings.disk_timeout_s)
        activity = {"name": "deleting", "step": "delete", "deadline": deadline}
        self.medium.write(
            {
                **NOTHING_GOES_ON,
                "state": MediaState.DELETING if final else decision.state,
                "activity": activity,
                "failure": None,
            }
        )
        site.unit.media.clear(place_media(site.path, self.medium.id))
        self.medium.write({**NOTHING_IS_THERE, "state": MediaState.ABSENT, "activity": None})
        door.drop_records(self._c.database, [("disks", queries.media_record_id(self.medium.id))])
        return None

    def _remove_row(self) -> Outcome | None:
        self._c.lease.check()
        written = door.remove_row(
            self._c.database, "media", self.medium.id, epoch=self._c.lease.epoch
        )
        if written == "unchanged":
            return None
        door.drop_records(self._c.database, [("uploads", self.medium.id)])
        return Outcome(gone=True)

    def _fail(self, decision: MediaDecision, error: EngineError) -> Outcome:
        now, host = self._c.now(), self.site.unit.id if self.site else None
        wish = media_wish_record(decision.wish)
        log.warning(
            "step_failed",
            media=self.medium.id,
            action=type(decision.action).__name__,
            reason=error.reason,
            terminal=error.terminal,
            error=error.message,
        )
        failure = failure_of(error, self.medium.row, wish, now, host)
        changes: dict[str, Any] = {
            "reason": error.reason,
            "message": error.message,
            "failure": failure,
            "activity": None,
        }
        if error.terminal:
            changes |= {"progress": None, "for": wish}
            if isinstance(decision.action, Fetch):
                changes["state"] = MediaState.FAILED
        self.medium.write(changes)
        return Outcome(again_s=_seconds_to(failure.get("retry_at"), now))

    def _report_invalid(self, problem: RowProblem) -> Outcome:
        failure = invalid_row(problem.field, problem.message)
        self.medium.write(
            {
                **NOTHING_GOES_ON,
                "reason": Reason.INVALID_ROW,
                "message": problem.message,
                "failure": failure,
            }
        )
        return Outcome()

    def _require_site(self) -> DiskSite:
        if self.site is None:
            raise Terminal(Reason.NO_DISK_HOST, "No host works on its storage.", step="storage")
        return self.site


def _seconds_to(until: datetime | None, now: datetime) -> float | None:
    return None if until is None else max(0.05, (until - now).total_seconds())


def _marked(outcome: Outcome, mark: int) -> Outcome:
    return Outcome(outcome.again_s, outcome.topics, mark, outcome.move_to, outcome.gone)
