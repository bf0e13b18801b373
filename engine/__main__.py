"""`python -m engine`: wait for the database, wait for the lease, be the engine until told to stop.
`python -m engine doctor`: say what is wrong (engine/doctor).

SIGTERM and SIGINT stop it within five seconds. An engine that finds another one active ends all it
does and starts over as a fresh process of the same id: a thread that is stuck in a call cannot be
ended in any other way, and a fresh process has none.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from rethinkdb.errors import ReqlError

from db.connection import Database
from db.errors import DatabaseUnavailable, SettingsError
from db.logs import configure, get_logger
from db.schema import newest_version, read_version
from engine.active import ActiveEngine
from engine.doctor import main as doctor
from engine.lease import DataLock, Lease
from engine.settings import EngineSettings

log = get_logger(__name__)


def main() -> int:
    if sys.argv[1:2] == ["doctor"]:
        return doctor(sys.argv[2:])
    configure("engine")
    try:
        settings = EngineSettings.from_environment()
    except SettingsError as error:
        log.error("settings", error=str(error))
        return 2
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    database = Database(settings.db)
    lock = DataLock(settings.db.data / "engine.lock")
    if not wait_for_schema(database, stop):
        return 0
    lease = Lease(database, lock)
    if not lease.acquire(stop.is_set):
        return 0
    engine = ActiveEngine(settings, database, lease)
    engine.run(stop)
    if engine.fenced.is_set() and not stop.is_set():
        log.warning("starting_over")
        lock.close()
        os.execv(sys.executable, [sys.executable, "-m", "engine"])  # noqa: S606
    # Threads that still wait for a host are daemons: they end with the process, here and now.
    sys.stderr.flush()
    os._exit(0)


def wait_for_schema(database: Database, stop: threading.Event) -> bool:
    """True once the database answers and its schema is ours; False where it was told to stop."""
    said = ""
    while not stop.is_set():
        try:
            found = read_version(database)
            if found == newest_version():
                return True
            problem = f"its schema is {found}, not {newest_version()}: run `python -m db init`"
        except (DatabaseUnavailable, ReqlError) as error:
            # The server's own error says that there are no tables yet.
            problem = str(error).splitlines()[0]
        if problem != said:
            log.info("waiting_for_database", problem=problem)
            said = problem
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
