"""Statistics of desktops and hypervisors, as the engine keeps them. Called by the API.

A window is its chunks put together (db/windows.py) and cut to its length; what the engine has not
measured is not there, so a desktop that was off leaves a gap and no zeros.
"""

from __future__ import annotations

import time
from typing import Any

from db import queries
from db.windows import DOMAIN_METRICS, HYPERVISOR_METRICS, WINDOWS, Window
from webapp.auth.permissions import Person
from webapp.extensions import database
from webapp.services import desktops, hypervisors
from webapp.tidy import as_list, as_number

Payload = dict[str, Any]


def of_desktop(user: Person, desktop_id: str, window: str) -> Payload:
    row = desktops.find(user, desktop_id)
    return _read("domain_windows", row["id"], DOMAIN_METRICS, WINDOWS[window])


def of_hypervisor(user: Person, hypervisor_id: str, window: str) -> Payload:
    found = hypervisors.get_hypervisor(user, hypervisor_id)
    return _read("hypervisor_windows", found["id"], HYPERVISOR_METRICS, WINDOWS[window])


def _read(table: str, subject: str, metrics: tuple[str, ...], window: Window) -> Payload:
    now_s = time.time()
    rows = queries.get_rows(database(), table, window.ids_since(subject, now_s))
    points = [
        [at, *(as_number(value) for value in values)]
        for row in rows
        if row.get("metrics") == list(metrics)
        for at, *values in filter(_is_point, as_list(row.get("points")))
        if at > now_s - window.keep_s
    ]
    return {
        "window": window.name,
        "step_s": window.step_s,
        "length_s": window.keep_s,
        "metrics": list(metrics),
        "points": sorted(points, key=lambda point: point[0]),
    }


def _is_point(value: object) -> bool:
    return isinstance(value, list) and bool(value) and as_number(value[0]) is not None
