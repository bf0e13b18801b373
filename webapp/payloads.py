"""The one serializer: rows as people and pages may see them. Used by API, pages and Socket.IO.

Every JSON of a desktop, template, hypervisor or user leaves the product through here, so a field
that must not be shown is kept back in one place. Times are ISO 8601 in UTC, as in
`2031-01-01T09:00:00.000Z`, or null. `(admin)` marks what only administrators get; for others the
key is absent. webapp/api/answers.py declares the same shapes for OpenAPI, and a test validates one
against the other. Media have their own module, webapp/media_payloads.py.

desktop {
  id, name, description, kind: "desktop", icon, os, user, group, category, created_at,
  origin: {template: id | null} | (admin) as in the row,
  spec: {vcpus, memory_mib, firmware, boot, disks: [{id, size_gib, bus}],
         interfaces: [{id, mac}], graphics, video, sound, media: null | [{id: null | a medium's}],
         secure_boot, tpm, hyperv, clock},
  placement: {pool, (admin) forced_hypervisor, (admin) favourite_hypervisor},
  desired: {state, at, by: "user/<id>" | "script" | "", force: bool},
  observed: {state: "absent"|"stopped"|"started"|"paused"|"unknown",
             activity: null | {name, progress: percent | null, deadline, (admin) step},
             reason, message, at, started_at,
             failure: null | {reason, message, terminal: bool, retry_at, attempts,
                              (admin) step, (admin) command, (admin) answer, (admin) hypervisor},
             disks: [{id, size (bytes), (admin) path, (admin) backing}],
             interfaces: [{id, mac, address}],
             media: null | [{id}]               (what is in the drives of the running guest)
             queue: null | {position, of},      (its place among those that wait for room)
             (admin) hypervisor},
  condition: one of db.states.Condition, condition_label: "Running" …,
  remedy: null | what to do about the failure or the waiting (db/remedies.py),
  actions: sorted list of db.states.Action this person may ask now,
  thumbnail_url: null | "/api/v1/desktops/<id>/thumbnail?at=<ms>", thumbnail_at,
  problem: null | {field, message}      (the row itself is wrong; somebody wrote nonsense)
}
template {
  id, name, description, kind: "template" | "base", icon, os, user, created_at, spec (as above),
  condition, condition_label, is_ready: bool (its disks are there), shared: bool,
  observed (as above), actions: of those this person may ask now,
  remedy, problem (as above), allowed: null | {roles, categories, groups, users} for who may change
}
tree {version: what is deleted by `DELETE …/tree/<version>`, count (without the template itself),
      others: how many of them are other people's, may_delete: bool, root: node}
node {id, name: null where it is somebody else's, kind, user, condition, thumbnail_url,
      children: [node]}
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
me {id, name, role, group, category, is_admin: bool}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db.remedies import remedy_for
from db.rowcheck import RowProblem, check_domain, check_hypervisor
from db.states import Condition, EnrolmentState, HypervisorState, Observed, condition_of, read_wish
from webapp.auth.permissions import Person, actions_for, can_edit_template
from webapp.tidy import (
    as_iso,
    as_list,
    as_mapping,
    as_mappings,
    as_number,
    as_text,
    tidy_desired,
    tidy_domain,
    tidy_hypervisor,
)

Payload = dict[str, Any]

CONDITION_LABELS: dict[Condition, str] = {
    Condition.CREATING: "Being created",
    Condition.STOPPED: "Stopped",
    Condition.WAITING: "Waiting",
    Condition.STARTING: "Starting",
    Condition.STARTED: "Running",
    Condition.STOPPING: "Shutting down",
    Condition.PAUSING: "Pausing",
    Condition.PAUSED: "Paused",
    Condition.RESUMING: "Resuming",
    Condition.DELETING: "Being deleted",
    Condition.FAILED: "Failed",
    Condition.UNKNOWN: "Not reachable",
}

STATE_LABELS: dict[str, str] = {
    HypervisorState.OFFLINE: "Offline",
    HypervisorState.CONNECTING: "Connecting",
    HypervisorState.ONLINE: "Online",
    HypervisorState.ERROR: "Error",
}

_FILE_PATH = re.compile(r"(?<![\w:/])/(?:[\w.+@=-]+/)+[\w.+@=-]*")


def desktop(row: Mapping[str, Any], person: Person, thumbnail_at: object = None) -> Payload:
    """A desktop as `person` may see it. Any row, however damaged, has a payload."""
    raw, row = row, tidy_domain(row)
    condition = condition_of(row)
    has_screen = row["observed"].get("state") in (Observed.STARTED, Observed.PAUSED)
    shot_at = thumbnail_at if has_screen and isinstance(thumbnail_at, datetime) else None
    return {
        **_identity(row),
        "group": as_text(row.get("group")) or "",
        "category": as_text(row.get("category")) or "",
        "origin": plain(row["origin"])
        if person.is_admin
        else {"template": as_text(row["origin"].get("template"))},
        "spec": spec(row["spec"]),
        "placement": _placement(row["placement"], person),
        "desired": wish(row["desired"]),
        "observed": _observed_domain(row["observed"], person),
        "condition": condition.value,
        "condition_label": CONDITION_LABELS[condition],
        "remedy": _remedy(row["observed"], person),
        "actions": sorted(actions_for(person, row)),
        "thumbnail_url": thumbnail_url(str(row["id"]), shot_at) if shot_at else None,
        "thumbnail_at": as_iso(shot_at),
        "problem": problem_of(check_domain(dict(raw))),
    }


def template(row: Mapping[str, Any], person: Person) -> Payload:
    raw, row = row, tidy_domain(row)
    condition = condition_of(row)
    allowed = as_mapping(row.get("allowed"))
    return {
        **_identity(row),
        "spec": spec(row["spec"]),
        "condition": condition.value,
        "condition_label": CONDITION_LABELS[condition],
        "is_ready": row["observed"].get("state") == Observed.STOPPED,
        "shared": any(isinstance(value, list) for value in allowed.values()),
        "observed": _observed_domain(row["observed"], person),
        "actions": sorted(actions_for(person, row)),
        "allowed": tidy_allowed(allowed) if can_edit_template(person, row) else None,
        "remedy": _remedy(row["observed"], person),
        "problem": problem_of(check_domain(dict(raw))),
    }


def tidy_allowed(allowed: Mapping[str, Any]) -> Payload:
    """Each of the four: False (nobody), [] (everybody) or a list of ids."""
    return {
        key: [str(item) for item in allowed[key]] if isinstance(allowed.get(key), list) else False
        for key in ("roles", "categories", "groups", "users")
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


def me(person: Person) -> Payload:
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role,
        "group": person.group,
        "category": person.category,
        "is_admin": person.is_admin,
    }


def thumbnail_url(domain_id: str, at: datetime) -> str:
    return f"/api/v1/desktops/{domain_id}/thumbnail?at={int(at.timestamp() * 1000)}"


def wish(desired: Mapping[str, Any]) -> Payload:
    """`desired` of any row. The state may be a word we do not know: it is shown as it is."""
    try:
        read = read_wish({**desired, "state": "stopped"})
    except ValueError:  # not with the state given above; kept so that a kernel change cannot 500
        return {"state": desired.get("state"), "at": None, "by": "", "force": False}
    return {
        "state": desired.get("state"),
        "at": as_iso(read.at),
        "by": read.by,
        "force": read.force,
    }


def spec(value: Mapping[str, Any]) -> Payload:
    return {
        "vcpus": as_number(value.get("vcpus")) or 1,
        "memory_mib": as_number(value.get("memory_mib")) or 512,
        "firmware": as_text(value.get("firmware")) or "bios",
        "boot": [str(item) for item in as_list(value.get("boot"))] or ["disk"],
        "disks": [
            {
                "id": as_text(disk.get("id")),
                "size_gib": as_number(disk.get("size_gib")),
                "bus": as_text(disk.get("bus")) or "virtio",
            }
            for disk in as_mappings(value.get("disks"))
        ],
        "interfaces": [
            {"id": as_text(card.get("id")) or "", "mac": as_text(card.get("mac"))}
            for card in as_mappings(value.get("interfaces"))
        ],
        "graphics": [str(item) for item in as_list(value.get("graphics"))] or ["vnc"],
        "video": as_text(value.get("video")) or "virtio",
        "sound": as_text(value.get("sound")) or "none",
        "media": drives(value.get("media")),
        "secure_boot": value.get("secure_boot") is True,
        "tpm": value.get("tpm") is True,
        "hyperv": value.get("hyperv") is True,
        "clock": as_text(value.get("clock")) or "utc",
    }


def drives(value: object) -> list[Payload] | None:
    """None where nothing is said of them."""
    if not isinstance(value, list):
        return None
    return [{"id": as_text(drive.get("id"))} for drive in as_mappings(value)]


def _identity(row: Mapping[str, Any]) -> Payload:
    return {
        "id": str(row["id"]),
        "name": as_text(row.get("name")) or "",
        "description": as_text(row.get("description")) or "",
        "kind": as_text(row.get("kind")) or "",
        "icon": as_text(row.get("icon")) or "",
        "os": as_text(row.get("os")) or "",
        "user": as_text(row.get("user")) or "",
        "created_at": as_iso(row.get("created_at")),
    }


def _placement(value: Mapping[str, Any], person: Person) -> Payload:
    payload = {"pool": as_text(value.get("pool")) or "default"}
    if person.is_admin:
        for key in ("forced_hypervisor", "favourite_hypervisor"):
            payload[key] = as_text(value.get(key))  # type: ignore[assignment]
    return payload


def _observed_domain(seen: Mapping[str, Any], person: Person) -> Payload:
    payload = {
        "state": seen.get("state") or Observed.ABSENT.value,
        "activity": _activity(seen["activity"], person) if seen["activity"] else None,
        "reason": seen.get("reason"),
        "message": sentence(seen.get("message"), person),
        "at": as_iso(seen.get("at")),
        "started_at": as_iso(seen.get("started_at")),
        "failure": failure_of(seen["failure"], person) if seen["failure"] else None,
        "disks": disks(seen["disks"], person),
        "media": drives(seen.get("media")),
        "interfaces": [
            {
                "id": as_text(card.get("id")) or "",
                "mac": as_text(card.get("mac")),
                "address": as_text(card.get("address")),
            }
            for card in seen["interfaces"]
        ],
        "queue": _queue(as_mapping(seen.get("queue"))),
    }
    return payload | {"hypervisor": seen.get("hypervisor")} if person.is_admin else payload


def _queue(value: Mapping[str, Any]) -> Payload | None:
    position, of = as_number(value.get("position")), as_number(value.get("of"))
    return None if position is None or of is None else {"position": position, "of": of}


def _activity(value: Mapping[str, Any], person: Person) -> Payload:
    payload = {
        "name": as_text(value.get("name")) or "",
        "progress": as_number(value.get("progress")),
        "deadline": as_iso(value.get("deadline")),
    }
    return payload | {"step": as_text(value.get("step"))} if person.is_admin else payload


def failure_of(value: Mapping[str, Any], person: Person) -> Payload:
    payload = {
        "reason": as_text(value.get("reason")),
        "message": sentence(value.get("message"), person),
        "terminal": value.get("terminal") is True,
        "retry_at": as_iso(value.get("retry_at")),
        "attempts": as_number(value.get("attempts")),
    }
    if person.is_admin:
        shown = ("step", "command", "answer", "hypervisor")
        payload |= {key: as_text(value.get(key)) for key in shown}
    return payload


def _remedy(seen: Mapping[str, Any], person: Person) -> str | None:
    reason = (seen["failure"] or {}).get("reason") or seen.get("reason")
    return remedy_for(reason, administrator=person.is_admin)


def disks(seen: list[dict[str, Any]], person: Person) -> list[Payload]:
    """The disks of a tidy row's `observed`. Their paths are for administrators."""
    return [_disk(disk, person) for disk in seen]


def _disk(disk: Mapping[str, Any], person: Person) -> Payload:
    payload = {"id": as_text(disk.get("id")) or "", "size": as_number(disk.get("size"))}
    if person.is_admin:
        payload |= {key: as_text(disk.get(key)) for key in ("path", "backing")}
    return payload


def sentence(value: object, person: Person) -> str | None:
    """The engine's sentences may name files of a host: only administrators read those names."""
    text = as_text(value)
    return text if text is None or person.is_admin else _FILE_PATH.sub("(a file)", text)


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


def plain(mapping: Mapping[str, Any]) -> Payload:
    """What of it JSON has: a time, or what a script has nested there, is left out."""
    return {
        key: value
        for key, value in mapping.items()
        if value is None or isinstance(value, str | int | float | bool)
    }


def problem_of(problem: RowProblem | None) -> Payload | None:
    return {"field": problem.field, "message": problem.message} if problem else None
