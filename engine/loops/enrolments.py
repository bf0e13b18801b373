"""Publishes what passwords are sealed with, and sees to it that no order for an enrolment stays.

The reconciler ends each in its time; this loop is for those it cannot know: rows with ids that are
no hypervisor's, with times that cannot be, or left by a defect. Started by engine/active.py.
"""

from __future__ import annotations

from db import enrolments
from db import observed as door
from db.connection import r
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from engine.hypervisor.enrolment_key import EnrolmentKey
from engine.hypervisor.login import authorized_keys_line
from engine.reconcilers import Context
from engine.supervisor import Beat

log = get_logger(__name__)

LOOK_S = 5.0
ROW = "enrolment_key"


class Enrolments:
    def __init__(self, context: Context, key: EnrolmentKey) -> None:
        self._c, self._key = context, key

    def keep(self, beat: Beat) -> None:
        """The loop."""
        while True:
            try:
                self._publish()
                self._sweep()
            except DatabaseUnavailable as error:
                log.warning("enrolments_without_database", error=str(error))
            if not beat.wait(LOOK_S):
                return

    def _publish(self) -> None:
        record = {
            "id": ROW,
            "public": self._key.public,
            "ssh_key": authorized_keys_line(self._c.settings.ssh_key),
            "epoch": self._c.lease.epoch,
        }
        if self._c.database.run(r.table("engine").get(ROW)) != record:
            door.put_record(self._c.database, "engine", record, epoch=self._c.lease.epoch)

    def _sweep(self) -> None:
        swept = enrolments.sweep(self._c.database)
        if swept:
            log.info("enrolments_swept", count=swept)
