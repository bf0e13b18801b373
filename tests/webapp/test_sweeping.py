"""The loop that takes away what is needed no more."""

from __future__ import annotations

import gevent
import pytest
from flask import Flask, current_app
from gevent.event import Event

from db.errors import DatabaseUnavailable
from webapp.services.sweeping import keep_swept


@pytest.mark.parametrize("trouble", [OSError("read-only"), DatabaseUnavailable("away")])
def test_trouble_does_not_end_it(app: Flask, trouble: Exception) -> None:
    went_on = Event()
    seen: list[str] = []

    def sweep() -> None:
        seen.append(current_app.name)
        if len(seen) == 1:
            raise trouble
        went_on.set()

    loop = gevent.spawn(keep_swept, app, "things", 0.01, sweep)
    try:
        assert went_on.wait(20)
    finally:
        loop.kill()
    assert seen[:2] == ["webapp", "webapp"]
