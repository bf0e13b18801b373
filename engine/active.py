"""The engine while it is the active one: builds the parts, starts the loops, stops them in order.

Everything that acts lives in here and ends with it, so an engine that loses its lease stops by
stopping one object. The order of stopping: no new keys, no new jobs, then the hosts' connections
(which ends what still waits for them), then the lease, so that a successor need not wait. Made by
engine/__main__.py.
"""

from __future__ import annotations

import threading
import time

from db import observed as door
from db.connection import Database
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from db.schema import installation_id
from engine.controller import Controller, lane_of_domain
from engine.disk_locks import DiskLocks
from engine.executor import GENERAL, Executor
from engine.hypervisor.enrolment_key import EnrolmentKey
from engine.hypervisor.events import event_loop_age_s, start_event_loop
from engine.lease import RENEW_S, Lease
from engine.loops.enrolments import Enrolments
from engine.loops.leftovers import Leftovers
from engine.loops.orphans import Orphans
from engine.loops.retention import Retention
from engine.loops.waiting import Places
from engine.reconcilers import Context
from engine.reconcilers.domain import DomainReconciler
from engine.reconcilers.enrolment import EnrolmentReconciler
from engine.reconcilers.hypervisor import HypervisorReconciler
from engine.reconcilers.measure import MeasureReconciler
from engine.reconcilers.media import MediaReconciler
from engine.reconcilers.orphan import OrphanReconciler
from engine.reconcilers.pool import PoolReconciler
from engine.reconcilers.task import TaskReconciler
from engine.room import Room
from engine.settings import EngineSettings
from engine.supervisor import Beat, Supervisor
from engine.units import Units
from engine.watcher import Watcher
from engine.workqueue import Key, Topics, WorkQueue

log = get_logger(__name__)

STOP_S = 4.5
EVENT_LOOP_SILENCE_S = 10.0


class ActiveEngine:
    def __init__(self, settings: EngineSettings, database: Database, lease: Lease) -> None:
        self._database, self._lease = database, lease
        self.fenced = threading.Event()
        self.supervisor = Supervisor(self.fenced.set)
        self.queue = WorkQueue()
        self.executor = Executor()
        topics = Topics(self.queue.add)
        watcher = Watcher(database, self.queue, topics)
        self.context = Context(
            database=database,
            lease=lease,
            settings=settings,
            installation=installation_id(database),
            watcher=watcher,
            units=Units(),
            topics=topics,
            room=Room(watcher.domains, watcher.balancer_of),
            disk_locks=DiskLocks(topics.fire),
        )
        domains = DomainReconciler(self.context)
        hypervisors = HypervisorReconciler(self.context, self.queue, self.supervisor, self.executor)
        enrolment_key = EnrolmentKey.keep(settings.enrolment_key)
        enrolments = EnrolmentReconciler(self.context, self.queue, enrolment_key)
        self._enrolments = Enrolments(self.context, enrolment_key)
        self.controller = Controller(
            self.context,
            self.queue,
            self.executor,
            {
                "domain": domains.reconcile,
                "hypervisor": hypervisors.reconcile,
                "orphan": OrphanReconciler(self.context).reconcile,
                "pool": PoolReconciler(self.context).reconcile,
                "enrolment": enrolments.reconcile,
                "media": MediaReconciler(self.context).reconcile,
                "measure": MeasureReconciler(self.context).reconcile,
                "task": TaskReconciler(self.context, self.queue).reconcile,
            },
            self._choose_lane,
            self.fenced.set,
        )

    def run(self, stop: threading.Event) -> None:
        """Until `stop`, or until another engine is active (`fenced`)."""
        start_event_loop()
        self.supervisor.start("lease", self._keep_lease)
        for name, loop in self.context.watcher.loops().items():
            self.supervisor.start(name, loop)
        self.supervisor.start("controller", self.controller.dispatch)
        self.supervisor.start("leftovers", Leftovers(self.context).sweep_again)
        self.supervisor.start("places", Places(self.context, self.queue).keep)
        self.supervisor.start("enrolments", self._enrolments.keep)
        self.supervisor.start("orphans", Orphans(self.context).search, silence_s=180.0)
        self.supervisor.start("retention", Retention(self.context).keep, silence_s=60.0)
        while not stop.wait(0.2) and not self.fenced.is_set():
            pass
        self._stop()

    def _choose_lane(self, key: Key) -> str:
        return lane_of_domain(self.context, key) if key.kind == "domain" else GENERAL

    def _keep_lease(self, beat: Beat) -> None:
        """The loop: renew, and publish how all loops do."""
        while beat.wait(RENEW_S):
            try:
                self._lease.renew()
                self._publish_ticks()
            except DatabaseUnavailable as error:
                log.warning("lease_not_renewed", error=str(error))

    def _publish_ticks(self) -> None:
        age_s = event_loop_age_s()
        loops = self.supervisor.ticks() | {
            "libvirt-events": {
                "age_s": round(age_s, 1),
                "restarts": 0,
                "healthy": age_s < EVENT_LOOP_SILENCE_S,
            }
        }
        depth = self.queue.depth()
        record = {
            "id": "ticks",
            "holder": self._lease.holder,
            "loops": loops,
            "queue": {"waiting": depth.waiting, "working": depth.processing},
            "lanes": {
                name: {"waiting": load.waiting, "busy": load.busy, "oldest_s": round(load.oldest_s)}
                for name, load in self.executor.load().items()
            },
            "at": self.context.now(),
        }
        door.put_records(self._database, "engine", [record], epoch=self._lease.epoch)

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_S
        fenced = self.fenced.is_set()
        log.info("stopping", fenced=fenced)
        names = self.supervisor.names()
        for name in names:
            self.supervisor.tell_to_stop(name)
        self.queue.close()
        if not self.executor.close(STOP_S / 3):
            log.info("steps_cut", lanes=len(self.executor.load()))
        for unit in self.context.units.all():
            unit.close()
        late = self.supervisor.stop(names, max(0.1, deadline - time.monotonic() - 0.5))
        if not fenced:
            try:
                self._lease.release()
            except DatabaseUnavailable as error:
                log.warning("lease_not_released", error=str(error))
        log.info("stopped", late=late)
