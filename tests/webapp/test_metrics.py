"""/metrics is what a Prometheus server can read, and only who may reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from db.connection import Database, r
from db.errors import SettingsError
from db.states import Condition
from tests.webapp.conftest import Api, Rows
from webapp import create_app
from webapp.settings import WebSettings

NOON = datetime(2031, 1, 10, 12, tzinfo=UTC)


def scrape(client: FlaskClient, **headers: str) -> dict[tuple[str, ...], float]:
    """(name, label values …) -> value, as a Prometheus server understands the answer."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def with_token(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.token}"}


def test_a_scrape_tells_of_engine_hosts_and_desktops(root: Api, rows: Rows) -> None:
    rows.running(name="one")
    rows.desktop(name="two")
    rows.hypervisor()
    rows.observe("host-a", "hypervisors", state="online")
    rows.put("hypervisor_stats", {"id": "host-a", "cpu_percent": 25.0, "memory_mib": 2048})
    rows.put("orphans", {"id": "o"})
    ticks: dict[str, Any] = {
        "id": "ticks",
        "loops": {"lease": {"age_s": 0.5, "restarts": 2, "healthy": True}},
        "queue": {"waiting": 3, "working": 1},
        "lanes": {"power host-a": {"waiting": 4, "busy": 2, "oldest_s": 7}},
    }
    rows.put("engine", ticks)
    rows.put("tasks", {"id": "t", "observed": {"state": "running"}})
    rows.put("media", {"id": "m"})
    root("GET", "/me")
    found = scrape(root.client, **with_token(root))
    assert found["isard_database_up",] == 1
    assert found["isard_engine_up",] == 0
    assert found["isard_engine_loop_restarts", "lease"] == 2
    assert found["isard_engine_queue_waiting",] == 3
    assert found["isard_engine_lane_oldest_seconds", "power host-a"] == 7
    assert found["isard_hypervisors", "online"] == 1
    assert found["isard_hypervisors", "error"] == 0
    assert found["isard_hypervisor_cpu_ratio", "host-a"] == 0.25
    assert found["isard_hypervisor_memory_bytes", "host-a"] == 2 << 30
    assert found["isard_domains", "started", "desktop"] == 1
    assert found["isard_domains", "stopped", "desktop"] == 1
    assert len([key for key in found if key[0] == "isard_domains"]) == 3 * len(Condition)
    assert found["isard_tasks", "running"] == 1
    assert found["isard_media", "absent"] == 1
    assert found["isard_orphans",] == 1
    assert found["isard_request_seconds_count", "GET", "/api/v1/me", "200"] == 1
    assert ("isard_feed_lag_seconds_count",) in found


def backup(backup_id: str, age_h: float, state: str, **observed: Any) -> dict[str, Any]:
    """One that ended so."""
    wish = {"state": "available", "at": NOON - timedelta(hours=age_h)}
    return {
        "id": backup_id,
        "kind": "scheduled",
        "created_at": NOON - timedelta(hours=age_h),
        "desired": wish,
        "observed": {"state": state, "for": wish, **observed},
    }


def backup_numbers(root: Api) -> dict[tuple[str, ...], float]:
    found = scrape(root.client, **with_token(root))
    return {key: value for key, value in found.items() if key[0].startswith("isard_backup")}


def test_without_backups_there_is_no_verified_one_and_none_has_failed(root: Api) -> None:
    found = backup_numbers(root)
    assert sum(found.values()) == 0
    assert found["isard_backup_last_verified_timestamp_seconds",] == 0
    assert found["isard_backup_last_failed",] == 0


def test_a_scrape_tells_of_the_last_good_backup_and_whether_one_failed_since(
    root: Api, rows: Rows
) -> None:
    rows.put("backups", backup("older", 60, "verified", size=1000))
    made_at = (NOON - timedelta(hours=31)).isoformat()
    rows.put("backups", backup("good", 30, "verified", size=200, made_at=made_at))
    rows.put("backups", backup("gone", 20, "missing", size=70_000))
    rows.put("backups", backup("bad", 10, "unverified", size=30))
    ordered = backup("ordered", 1, "checking", size=4)
    ordered["desired"] = {"state": "available", "at": NOON}
    rows.put("backups", ordered)
    rows.put("backups", backup("laid", 2, "verified", made_at="of old") | {"kind": "found"})
    rows.put("backups", {"id": "nonsense", "kind": 7, "observed": 3})
    found = backup_numbers(root)
    counted = {key[1]: value for key, value in found.items() if key[0] == "isard_backups"}
    assert counted == {
        **dict.fromkeys(("waiting", "writing", "deleting"), 0),
        **dict.fromkeys(("checking", "unverified", "missing", "failed"), 1),
        "verified": 3,
    }
    assert found["isard_backups_bytes",] == 1234
    laid_at = NOON - timedelta(hours=2)
    assert found["isard_backup_last_verified_timestamp_seconds",] == laid_at.timestamp()
    assert found["isard_backup_last_failed",] == 1
    rows.database.run(r.table("backups").get("laid").delete())
    rows.put("backups", backup("retried", 5, "verified", size=30))
    rows.put("backups", backup("torn", 3, "unverified") | {"kind": "found"})
    found = backup_numbers(root)
    at = NOON - timedelta(hours=5)
    assert found["isard_backup_last_verified_timestamp_seconds",] == at.timestamp()
    assert found["isard_backup_last_failed",] == 0
    rows.database.run(r.table("backups").get("retried").delete())
    found = backup_numbers(root)
    at = NOON - timedelta(hours=31)
    assert found["isard_backup_last_verified_timestamp_seconds",] == at.timestamp()


def test_methods_that_somebody_invents_are_one_series(root: Api) -> None:
    for number in range(5):
        assert root.client.open("/api/v1/me", method=f"X{number}").status_code == 405
    methods = {
        labels[0]
        for name, *labels in scrape(root.client, **with_token(root))
        if name == "isard_request_seconds_count"
    }
    assert methods == {"other"}


def test_it_is_for_administrators(ana: Api, root: Api) -> None:
    client = ana.client
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=with_token(ana)).status_code == 403
    assert client.get("/metrics", headers=with_token(root)).status_code == 200


def test_an_address_that_is_let_in_needs_no_token(
    web_settings: WebSettings, database: Database
) -> None:
    settings = WebSettings.from_environment(
        {"ISARD_METRICS_FROM": "10.1.0.0/16, ::1", "ISARD_DATA": str(web_settings.kernel.data)}
    )
    app = create_app(replace(web_settings, metrics_from=settings.metrics_from), database)
    client = app.test_client()
    for address, status in (("10.1.2.3", 200), ("10.2.2.3", 401), ("::1", 200), ("", 401)):
        answer = client.get("/metrics", environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == status, address


def test_nonsense_in_the_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="ISARD_METRICS_FROM"):
        WebSettings.from_environment({"ISARD_METRICS_FROM": "10.1.0.0/16 everybody"})
