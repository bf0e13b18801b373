"""The loop that takes away what is needed no more, for as long as the web side serves.

What that is, each service says with its own `sweep`; `webapp/server.py` starts a loop for each. A
database that is away or a disk that takes nothing ends none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent
from flask import Flask

from db.errors import DatabaseUnavailable
from db.logs import get_logger

log = get_logger(__name__)


def keep_swept(app: Flask, what: str, every_s: float, sweep: Callable[[], object]) -> None:
    """`what`: the word for it in the log."""
    while True:
        try:
            with app.app_context():
                sweep()
        except (DatabaseUnavailable, OSError) as error:
            log.warning("not_swept", what=what, error=str(error))
        gevent.sleep(every_s)
