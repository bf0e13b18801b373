"""/metrics is what a Prometheus server can read, and only who may reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from db.connection import Database
from db.errors import SettingsError
from db.states import Condition
from tests.webapp.conftest import Api, Rows
from webapp import create_app
from webapp.settings import WebSettings


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
