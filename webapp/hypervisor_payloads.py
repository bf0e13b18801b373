"""Hypervisors and orphans as administrators and their pages see them; see webapp/payloads.py.

hypervisor (administrators only) {
  id, hostname, port, user, description, pools: [id], limits, created_at,
  capabilities: {hypervisor: bool, disk_operations: bool},
  viewer: {hostname: null | text, port, nat_hostname, nat_offset, proxy}, host_key: null | text,
  desired: {state, at, by, force},
  observed: {state: "offline"|"connecting"|"online"|"error", virtualization, disk_operations,
             reason, message, host_key_offered,
             checks: [{name, title, ok, level, message, remedy, duration_ms, affects}],
             enrolment: null | {state: "working"|"waiting"|"done"|"failed", order, reason, message,
                                fingerprint, host_key, trusted, at},
             drain: null | {left, of}, speeds: null | {at, is_measuring, paths: [{path,
               write_bytes_s, read_bytes_s, cached, message}]}, info: {…}, retry_at, at},
  state_label, remedy: null | what to do about its reason, problem
}
orphan (administrators only) {
  id, kind: "domain"|"file", hypervisor, path, domain, name, macs, disks, size (bytes),
  modified_at, backing, ours: bool, message, at (listed since), is_wanted_gone: bool,
  refusal: null | why it was not removed
}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.remedies import remedy_for
from db.rowcheck import check_hypervisor
from db.states import EnrolmentState, HypervisorState
from webapp.payloads import Payload, plain, problem_of, wish
from webapp.tidy import (
    as_iso,
    as_list,
    as_mapping,
    as_mappings,
    as_number,
    as_text,
    tidy_desired,
    tidy_hypervisor,
)

STATE_LABELS: dict[str, str] = {
    HypervisorState.OFFLINE: "Offline",
    HypervisorState.CONNECTING: "Connecting",
    HypervisorState.ONLINE: "Online",
    HypervisorState.ERROR: "Error",
}


def hypervisor(row: Mapping[str, Any]) -> Payload:
    """For administrators alone."""
    raw, row = row, tidy_hypervisor(row)
    seen, viewer = row["observed"], row["viewer"]
    state = seen.get("state") or HypervisorState.OFFLINE.value
    return {
        "id": str(row["id"]),
        "hostname": as_text(row.get("hostname")) or "",
        "port": as_number(row.get("port")) or 22,
        "user": as_text(row.get("user")) or "root",
        "description": as_text(row.get("description")) or "",
        "capabilities": {
            key: row["capabilities"].get(key) is True for key in ("hypervisor", "disk_operations")
        },
        "pools": [str(pool) for pool in as_list(row.get("pools"))],
        "viewer": {
            "hostname": as_text(viewer.get("hostname")),
            "port": as_number(viewer.get("port")),
            "nat_hostname": as_text(viewer.get("nat_hostname")),
            "nat_offset": as_number(viewer.get("nat_offset")),
            "proxy": as_text(viewer.get("proxy")),
        },
        "limits": plain(as_mapping(row.get("limits"))),
        "host_key": as_text(row.get("host_key")),
        "created_at": as_iso(row.get("created_at")),
        "desired": wish(row["desired"]),
        "observed": {
            "state": state,
            "virtualization": seen.get("virtualization"),
            "disk_operations": seen.get("disk_operations"),
            "reason": seen.get("reason"),
            "message": seen.get("message"),
            "host_key_offered": host_key_offered(seen),
            "checks": [_check(check) for check in seen["checks"]],
            "enrolment": _enrolment(as_mapping(seen.get("enrolment"))),
            "drain": _drain(as_mapping(seen.get("drain"))),
            "speeds": _speeds(row, as_mapping(seen.get("speeds"))),
            "info": plain(seen["info"]),
            "retry_at": as_iso(seen.get("retry_at")),
            "at": as_iso(seen.get("at")),
        },
        "state_label": STATE_LABELS.get(state, state),
        "remedy": remedy_for(seen.get("reason"), administrator=True),
        "problem": problem_of(check_hypervisor(dict(raw))),
    }


def host_key_offered(seen: Mapping[str, Any]) -> str | None:
    """The key a person is asked to accept, whoever of the engine has found it."""
    enrolment = as_mapping(seen.get("enrolment"))
    is_asked = enrolment.get("state") == EnrolmentState.WAITING
    return as_text(seen.get("host_key_offered")) or (
        as_text(enrolment.get("host_key")) if is_asked else None
    )


def _enrolment(seen: Mapping[str, Any]) -> Payload | None:
    state = as_text(seen.get("state"))
    if state not in {state.value for state in EnrolmentState}:
        return None
    return {
        "state": state,
        **{
            key: as_text(seen.get(key))
            for key in (*("order", "reason", "message", "fingerprint", "host_key", "trusted"),)
        },
        "at": as_iso(seen.get("at")),
    }


def orphan(row: Mapping[str, Any]) -> Payload:
    """For administrators alone."""
    desired = tidy_desired(row.get("desired"))
    seen = as_mapping(row.get("observed"))
    wished = {"state": desired["state"], "at": desired["at"]}
    is_answered = as_mapping(seen.get("for")) == wished
    return {
        "id": str(row["id"]),
        "kind": as_text(row.get("kind")) or "",
        "hypervisor": as_text(row.get("hypervisor")) or "",
        "path": as_text(row.get("path")),
        "domain": as_text(row.get("domain")),
        "name": as_text(row.get("name")) or "",
        "macs": [str(mac) for mac in as_list(row.get("macs"))],
        "disks": [str(path) for path in as_list(row.get("disks"))],
        "size": as_number(row.get("size")),
        "modified_at": as_iso(row.get("modified_at")),
        "backing": as_text(row.get("backing")),
        "ours": row.get("ours") is True,
        "message": as_text(row.get("message")) or "",
        "at": as_iso(row.get("at")),
        "is_wanted_gone": desired["state"] == "removed" and not is_answered,
        "refusal": as_text(seen.get("message")) if is_answered else None,
    }


def _check(check: Mapping[str, Any]) -> Payload:
    return {
        "name": as_text(check.get("name")) or "",
        "title": as_text(check.get("title")) or as_text(check.get("name")) or "",
        "ok": check.get("ok") is True,
        "level": _level_of(check),
        "message": as_text(check.get("message")) or "",
        "remedy": as_text(check.get("remedy")) or "",
        "duration_ms": as_number(check.get("duration_ms")),
        "affects": as_text(check.get("affects")) or "both",
    }


def _level_of(check: Mapping[str, Any]) -> str:
    level = check.get("level")
    if level in ("ok", "warning", "failed"):
        return str(level)
    return "ok" if check.get("ok") is True else "failed"


def _speeds(row: Mapping[str, Any], speeds: Mapping[str, Any]) -> Payload | None:
    wished_at = as_mapping(row.get("measure")).get("at")
    if not speeds and wished_at is None:
        return None
    return {
        "at": as_iso(speeds.get("at")),
        "is_measuring": wished_at is not None and wished_at != speeds.get("for"),
        "paths": [
            {
                "path": as_text(one.get("path")) or "",
                "write_bytes_s": as_number(one.get("write_bytes_s")),
                "read_bytes_s": as_number(one.get("read_bytes_s")),
                "cached": one.get("cached") is True,
                "message": as_text(one.get("message")) or "",
            }
            for one in as_mappings(speeds.get("paths"))
        ],
    }


def _drain(drain: Mapping[str, Any]) -> Payload | None:
    left, of = as_number(drain.get("left")), as_number(drain.get("of"))
    return None if left is None or of is None else {"left": left, "of": of}
