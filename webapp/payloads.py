"""The one serializer: rows as people and pages may see them. Used by API, pages and Socket.IO.

Every JSON of a desktop, template or user leaves the product through here, so a field
that must not be shown is kept back in one place. Times are ISO 8601 in UTC, as in
`2031-01-01T09:00:00.000Z`, or null. `(admin)` marks what only administrators get; for others the
key is absent. webapp/api/answers.py declares the same shapes for OpenAPI, and a test validates one
against the other. Hypervisors and media have modules of their own, webapp/hypervisor_payloads.py
and webapp/media_payloads.py.

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
me {id, name, role, group, category, is_admin: bool}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db.remedies import remedy_for
from db.rowcheck import RowProblem, check_domain
from db.states import Condition, Observed, condition_of, read_wish
from webapp.auth.permissions import Person, actions_for, can_edit_template
from webapp.tidy import (
    as_iso,
    as_list,
    as_mapping,
    as_mappings,
    as_number,
    as_text,
    tidy_domain,
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


def plain(mapping: Mapping[str, Any]) -> Payload:
    """What of it JSON has: a time, or what a script has nested there, is left out."""
    return {
        key: value
        for key, value in mapping.items()
        if value is None or isinstance(value, str | int | float | bool)
    }


def problem_of(problem: RowProblem | None) -> Payload | None:
    return {"field": problem.field, "message": problem.message} if problem else None
