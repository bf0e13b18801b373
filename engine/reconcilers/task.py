"""One order of work on disks, from key to row: judge it, wait for its turn, have it done, say so.

A task is done in the lane `tasks/<host>` of a host that works on the disks, with the disks held, so
the desktop neither starts nor goes meanwhile; from the row's `running` on it waits also in the eyes
of an engine that comes after this one. What must survive is in the ledger of disks: work that was
cut off is brought to one of its two ends before it is begun again (engine/reconcilers/task_work.py
says which). Ended tasks are kept for a while and then removed. Called by engine/controller.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from db import observed as door
from db import queries
from db.logs import get_logger
from db.rowcheck import RowProblem
from db.states import TASK_ENDED, Reason, TaskKind, TaskState
from db.taskcheck import Order, read_order
from engine.disk_locks import Held
from engine.errors import CalledOff, EngineError, HostLost, Terminal, Transient, WrongStorage
from engine.reconcilers import Context, Elsewhere, Outcome, task_deliver, task_export, task_images
from engine.reconcilers.observation import retry_delay_s
from engine.reconcilers.task_job import DEFECTS, Job, Slots, Waiting
from engine.reconcilers.task_progress import Progress
from engine.reconcilers.task_settle import settle
from engine.reconcilers.task_work import KINDS
from engine.task_cache import domains_of_task
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

HELD_AGAIN_S = 2.0
SETTLE_AGAIN_S = 1.0
PATIENCE_S = 60.0
ALL_KINDS = {
    **KINDS,
    TaskKind.DUPLICATE: task_images.duplicate,
    TaskKind.IMPORT: task_images.import_image,
    TaskKind.EXPORT: task_export.export,
    TaskKind.DELIVER: task_deliver.deliver,
}
RETRIED = frozenset({Reason.IN_USE, Reason.NO_DISK_HOST, Reason.HOST_UNREACHABLE})
"""Transient reasons that waiting helps. Any other failure ends the task: it can be ordered again.
"""


class TaskReconciler:
    def __init__(self, context: Context, queue: WorkQueue) -> None:
        self._c, self._queue = context, queue
        self._cancelling: dict[str, float] = {}
        self._slots = Slots(context.topics.fire)

    def reconcile(self, key: Key, lane: str) -> Outcome:
        mark = self._c.topics.mark()
        row = queries.get_row(self._c.database, "tasks", key.id)
        if row is None:
            self._wake(key.id, [])
            return Outcome(gone=True)
        if str(observed_of(row).get("state")) in TASK_ENDED:
            return self._keep(row)
        order = read_order({**row, "observed": {}})
        if isinstance(order, RowProblem):
            return self._end(row, TaskState.FAILED, Reason.INVALID_ROW, order.message)
        retry_at = (observed_of(row).get("failure") or {}).get("retry_at")
        now = self._c.now()
        if isinstance(retry_at, datetime) and now < retry_at and not order.is_cancelled:
            return Outcome(again_s=(retry_at - now).total_seconds())
        return replace(self._carry_out(row, order, lane), mark=mark)

    def _carry_out(self, row: dict[str, Any], order: Order, lane: str) -> Outcome:
        begun = observed_of(row).get("state") == TaskState.RUNNING
        progress = Progress(lambda changes: self._show(row, changes))
        job = Job(self._c, order, lane, progress, self._slots)
        try:
            if order.is_cancelled:
                if begun and not settle(job) and self._is_patient(order):
                    return Outcome(again_s=SETTLE_AGAIN_S)
                return self._end(row, TaskState.CANCELLED, Reason.CALLED_OFF, "It was cancelled.")
            result = ALL_KINDS[order.kind](job)
        except Elsewhere as elsewhere:
            return Outcome(move_to=elsewhere.lane)
        except Waiting as waiting:
            return self._wait(row, waiting)
        except Held as held:
            return Outcome(again_s=HELD_AGAIN_S, topics=(held.topic,))
        except CalledOff:
            return self._end(row, TaskState.CANCELLED, Reason.CALLED_OFF, "It was cancelled.")
        except EngineError as error:
            return self._fail(row, order, error)
        except DEFECTS as error:
            # Not tried again: it would copy whole disks each time, and come to the same end.
            log.exception("task_broke", task=order.id, kind=order.kind)
            what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            message = f"The engine could not do this ({what})."
            return self._fail(row, order, Terminal(Reason.DISK_FAILED, message))
        return self._end(row, TaskState.DONE, None, result.message, result=dict(result.facts))

    def _is_patient(self, order: Order) -> bool:
        """Whether a host that could clean up is still waited for. Not for ever: a cancelled task
        ends, and whoever works on these disks next cleans up.
        """
        since = self._cancelling.setdefault(order.id, time.monotonic())
        return time.monotonic() - since < PATIENCE_S

    def _show(self, row: dict[str, Any], changes: Mapping[str, Any]) -> None:
        """That it runs, and how far it is."""
        old = observed_of(row)
        started_at = old.get("started_at")
        self._write(
            row,
            {
                "state": TaskState.RUNNING.value,
                "started_at": started_at if isinstance(started_at, datetime) else self._c.now(),
                "hypervisor": old.get("hypervisor"),
                **changes,
            },
        )

    def _wait(self, row: dict[str, Any], waiting: Waiting) -> Outcome:
        """One that had begun goes on being shown as running: its disks are not free."""
        begun = observed_of(row).get("state") == TaskState.RUNNING
        state = TaskState.RUNNING if begun else TaskState.QUEUED
        started_at = observed_of(row).get("started_at")
        self._write(
            row,
            {
                "state": state.value,
                "reason": waiting.reason.value,
                "message": waiting.message,
                "started_at": started_at,
            },
        )
        return Outcome(topics=waiting.topics)

    def _fail(self, row: dict[str, Any], order: Order, error: EngineError) -> Outcome:
        failure = {
            "reason": error.reason,
            "message": error.message,
            "step": error.step,
            "command": error.command,
            "answer": error.answer,
            "terminal": True,
        }
        log.warning("task_failed", task=order.id, kind=order.kind, error=error.message)
        retried = isinstance(error, HostLost | WrongStorage) or (
            isinstance(error, Transient) and error.reason in RETRIED
        )
        if not retried or isinstance(error, Terminal):
            return self._end(row, TaskState.FAILED, error.reason, error.message, failure=failure)
        old = observed_of(row)
        before = (old.get("failure") or {}).get("attempts")
        attempts = before + 1 if isinstance(before, int) else 1
        delay_s = max(retry_delay_s(attempts), getattr(error, "retry_after_s", None) or 0.0)
        failure |= {
            "terminal": False,
            "attempts": attempts,
            "retry_at": self._c.now() + timedelta(seconds=delay_s),
        }
        begun = old.get("state") == TaskState.RUNNING
        state = TaskState.RUNNING if begun else TaskState.QUEUED
        changes = {"state": state.value, "reason": error.reason, "message": error.message}
        started_at = old.get("started_at")
        self._write(row, {**changes, "started_at": started_at, "failure": failure})
        return Outcome(again_s=delay_s)

    def _end(
        self,
        row: dict[str, Any],
        state: TaskState,
        reason: Reason | str | None,
        message: str,
        **more: Any,
    ) -> Outcome:
        old = observed_of(row)
        self._write(
            row,
            {
                "state": state.value,
                "reason": str(reason) if reason else None,
                "message": message,
                "started_at": old.get("started_at"),
                "hypervisor": old.get("hypervisor"),
                "progress": {"percent": 100.0} if state is TaskState.DONE else None,
                **more,
            },
        )
        self._cancelling.pop(str(row["id"]), None)
        log.info("task_ended", task=row["id"], kind=row.get("kind"), state=state, message=message)
        self._wake(row["id"], domains_of_task(row))
        return Outcome(again_s=0.0)

    def _keep(self, row: dict[str, Any]) -> Outcome:
        """Until it has been there long enough to be read."""
        at = observed_of(row).get("at")
        kept_s = self._c.settings.task_retention_s
        left_s = kept_s
        if isinstance(at, datetime):
            left_s = (at - self._c.now()).total_seconds() + kept_s
        if left_s > 0:
            return Outcome()
        self._c.lease.check()
        door.remove_row(self._c.database, "tasks", row["id"], epoch=self._c.lease.epoch, final=True)
        return Outcome(gone=True)

    def _wake(self, task_id: Any, domains: list[str]) -> None:
        """Those that waited for this task, and the domains whose disks it changed."""
        self._c.topics.fire(f"parent/{task_id}")
        for domain_id in domains:
            self._c.topics.fire(f"task/{domain_id}")
            self._c.topics.fire(f"parent/{domain_id}")
            self._queue.add(Key("domain", domain_id))

    def _write(self, row: dict[str, Any], observed: dict[str, Any]) -> None:
        whole = {**EMPTY, **observed, "at": self._c.now()}
        self._c.watcher.tasks.put({**row, "observed": whole})
        self._c.write("tasks", row, whole)
        row["observed"] = whole


EMPTY: dict[str, Any] = dict.fromkeys(
    ("step", "progress", "reason", "message", "failure", "hypervisor", "result", "started_at")
)


def observed_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """With every part that is looked into of the type it should have: a script may have written
    anything.
    """
    observed = row.get("observed")
    found = dict(observed) if isinstance(observed, Mapping) else {}
    if not isinstance(found.get("failure"), Mapping):
        found["failure"] = None
    return found
