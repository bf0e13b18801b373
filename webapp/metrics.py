"""What a Prometheus server is told: numbers of the whole installation, and of this web process.

The engine has no port of its own: what it does is in the database, and is read there at each scrape
(a few small queries, nothing by desktop, so the answer stays short however many there are). Request
durations and the lag of the feed are this process's own. One registry for each application. Served
by webapp/api/metrics.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from flask import Flask, current_app
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from db import backup_rows, queries
from db.connection import Database, r
from db.errors import DatabaseUnavailable
from db.states import Condition, HypervisorState, Kind, MediaState, TaskState, condition_of
from webapp import backup_payloads
from webapp.services.health import LeaseWatch
from webapp.tidy import as_mapping, as_number, as_text, tidy_domain

CONTENT_TYPE = CONTENT_TYPE_LATEST
REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LAG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
CONDITION_FIELDS = (
    "id",
    "kind",
    "desired",
    {"observed": ["state", "for", "failure", "reason", "activity"]},
)

HOST_METRICS: tuple[tuple[str, str, str, float], ...] = (
    ("cpu_percent", "cpu_ratio", "CPU in use, 1 is all of it", 0.01),
    ("memory_mib", "memory_bytes", "Memory of the host", 1024 * 1024),
    ("memory_used_mib", "memory_used_bytes", "Memory in use on the host", 1024 * 1024),
    ("domains", "domains", "Domains running on the host", 1),
    ("viewers", "viewers", "Connections to the screens of its desktops", 1),
    ("look_ms", "look_seconds", "How long the engine's last look at its numbers took", 0.001),
    ("net_received_bytes_s", "network_received_bytes_per_second", "Received by its desktops", 1),
    ("net_sent_bytes_s", "network_sent_bytes_per_second", "Sent by its desktops", 1),
    ("disk_read_bytes_s", "disk_read_bytes_per_second", "Read by its desktops", 1),
    ("disk_written_bytes_s", "disk_written_bytes_per_second", "Written by its desktops", 1),
)
"""(in `hypervisor_stats`, name, what it is, factor)"""


class Metrics:
    """This process's own numbers, and the registry with all of them."""

    def __init__(self, database: Database, lease_watch: LeaseWatch) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Installation(database, lease_watch))
        self.requests = Histogram(
            "isard_request_seconds",
            "How long requests took, by route",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=REQUEST_S,
        )
        self.feed_lag = Histogram(
            "isard_feed_lag_seconds",
            "From the engine's look at a desktop to the browsers, by the clocks of both",
            registry=self.registry,
            buckets=LAG_S,
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)


def metrics(app: Flask | None = None) -> Metrics:
    found: Metrics = (app or current_app).extensions["isard_metrics"]
    return found


class Installation(Collector):
    """What the rows say, read anew at each scrape."""

    def __init__(self, database: Database, lease_watch: LeaseWatch) -> None:
        self._database, self._watch = database, lease_watch

    def describe(self) -> list[Metric]:
        """Nothing is asked of the database when the registry is made."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            yield from self._read()
        except DatabaseUnavailable:
            yield _gauge("isard_database_up", "Whether the database answers", 0)

    def _read(self) -> list[Metric]:
        engine = queries.read_engine(self._database)
        ticks = as_mapping(engine["ticks"])
        at_work = self._watch.is_engine_at_work(self._database)
        return [
            _gauge("isard_database_up", "Whether the database answers", 1),
            _gauge("isard_engine_up", "Whether an engine is at work", int(at_work)),
            *_engine(ticks),
            *self._hypervisors(),
            *self._domains(),
            self._states("media", "Media by state", MediaState),
            self._states("tasks", "Orders by state", TaskState),
            _gauge("isard_orphans", "Domains and files without a row", self._count("orphans")),
            *_backups(backup_rows.list_backups(self._database)),
        ]

    def _states(self, table: str, help: str, states: type[StrEnum]) -> Metric:
        """Rows by `observed.state`; one the engine has not seen yet has the first of the words."""
        first, *_ = states
        found = Counter(
            as_text(as_mapping(row.get("observed")).get("state")) or first.value
            for row in self._database.run(r.table(table).pluck({"observed": ["state"]}))
        )
        family = GaugeMetricFamily(f"isard_{table}", help, labels=["state"])
        for state in states:
            family.add_metric([state.value], found[state.value])
        return family

    def _hypervisors(self) -> Iterator[Metric]:
        yield self._states("hypervisors", "Hypervisors by state", HypervisorState)
        stats = queries.list_rows(self._database, "hypervisor_stats")
        for key, name, help, factor in HOST_METRICS:
            family = GaugeMetricFamily(f"isard_hypervisor_{name}", help, labels=["hypervisor"])
            for row in stats:
                value = as_number(row.get(key))
                if value is not None:
                    family.add_metric([str(row["id"])], value * factor)
            yield family

    def _domains(self) -> Iterator[Metric]:
        """By kind and the one word people are shown."""
        counted: Counter[tuple[str, str]] = Counter()
        for row in self._database.run(r.table("domains").pluck(*CONDITION_FIELDS)):
            kind = as_text(row.get("kind")) or ""
            if kind in set(Kind):
                counted[kind, condition_of(tidy_domain(row)).value] += 1
        family = GaugeMetricFamily(
            "isard_domains", "Desktops, templates and bases", labels=["kind", "condition"]
        )
        for kind in Kind:
            for condition in Condition:
                family.add_metric([kind, condition], counted[kind, condition])
        yield family

    def _count(self, table: str) -> int:
        return int(self._database.run(r.table(table).count()))


def _engine(ticks: Mapping[str, Any]) -> Iterator[Metric]:
    loops = as_mapping(ticks.get("loops"))
    for key, name, help in (
        ("age_s", "isard_engine_loop_age_seconds", "Since a loop of the engine last moved"),
        ("restarts", "isard_engine_loop_restarts", "How often a loop was started again"),
        ("healthy", "isard_engine_loop_healthy", "Whether a loop moves"),
    ):
        yield _by_label(name, help, "loop", loops, key)
    queue = as_mapping(ticks.get("queue"))
    for key in ("waiting", "working"):
        value = as_number(queue.get(key)) or 0
        yield _gauge(f"isard_engine_queue_{key}", f"Keys that are {key} in the queue", value)
    lanes = as_mapping(ticks.get("lanes"))
    for key, name, help in (
        ("waiting", "isard_engine_lane_waiting", "Jobs that wait in a lane"),
        ("busy", "isard_engine_lane_busy", "Workers of a lane that work"),
        ("oldest_s", "isard_engine_lane_oldest_seconds", "How long the oldest job waits"),
    ):
        yield _by_label(name, help, "lane", lanes, key)


def _backups(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    """As the page Backups shows them. A file that somebody laid into the folder may be restored
    from; whether making them goes well it does not tell.
    """
    shown = sorted(map(backup_payloads.backup, rows), key=backup_payloads.newest_first)
    counted = Counter(item["state"] for item in shown)
    states = GaugeMetricFamily("isard_backups", "Backups by state", labels=["state"])
    for state in backup_payloads.STATES:
        states.add_metric([state], counted[state])
    yield states
    there = [item["size"] or 0 for item in shown if item["state"] != "missing"]
    yield _gauge("isard_backups_bytes", "Size of the backups' files", sum(there))
    verified = [_made_s(item) for item in shown if item["state"] == "verified"]
    yield _gauge(
        "isard_backup_last_verified_timestamp_seconds",
        "When the newest verified backup was made, in unix time; 0 where there is none",
        max(verified, default=0.0),
    )
    ours = [item for item in shown if item["kind"] != "found" and item["created_at"]]
    last = next((item for item in ours if not item["is_open"]), None)
    yield _gauge(
        "isard_backup_last_failed",
        "Whether the last backup that ended is not a verified one",
        int(last is not None and last["state"] != "verified"),
    )


def _made_s(item: Mapping[str, Any]) -> float:
    moment = item["made_at"] or item["created_at"]
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _by_label(name: str, help: str, label: str, rows: Mapping[str, Any], key: str) -> Metric:
    family = GaugeMetricFamily(name, help, labels=[label])
    for one, row in sorted(rows.items()):
        value = as_mapping(row).get(key)
        if isinstance(value, int | float):
            family.add_metric([one], float(value))
    return family


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)
