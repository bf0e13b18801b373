"""The serializer of media, as `webapp.payloads` is of the rest.

medium {
  id, name, description, kind: "iso"|"floppy"|"disk", user, group, category, pool, created_at,
  source: {url (without name, password and query: nobody is shown those) | null, sha256,
           upload: bool, size, file},
  shared: bool, allowed (for its owner and administrators), catalogue: null | {id, version},
  desired: {state, at, by, force},
  observed: {state, activity: null | {name, step, deadline}, size, sha256, format, reason, message,
             hardware: null | as in webapp.described,
             progress: null | {percent, bytes, total_bytes, speed_bytes_s, eta_s}, at,
             failure: as of a desktop, (admin) path, (admin) hypervisor},
  condition: one of db.media_states.MediaCondition, is_ready: bool,
  can_save: bool (this person may have its file),
  can_import: bool (this person may have a desktop made of it),
  import_defaults: {vcpus, memory_mib, firmware, os, disk_bus}: what an import takes that leaves
                   them out; null where the medium states nothing,
  remedy: null | text, actions: sorted list of db.media_states.MediaAction, problem
}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from db.media_states import MediaCondition, media_actions_of, media_condition_of
from db.remedies import remedy_for
from db.rowcheck import check_media
from db.states import MediaState
from db.urls import without_secrets
from webapp.auth.permissions import Person, can_change_media, can_import
from webapp.described import described_by, hardware_of
from webapp.payloads import failure_of, problem_of, sentence, tidy_allowed, wish
from webapp.tidy import as_iso, as_mapping, as_number, as_text, tidy_media

Payload = dict[str, Any]
PROGRESS = ("percent", "bytes", "total_bytes", "speed_bytes_s", "eta_s")


def medium(row: Mapping[str, Any], person: Person) -> Payload:
    raw, row = row, tidy_media(row)
    condition = media_condition_of(row)
    seen, source, allowed = row["observed"], row["source"], as_mapping(row.get("allowed"))
    may_change = can_change_media(person, row)
    payload = {
        "id": str(row["id"]),
        "name": as_text(row.get("name")) or "",
        "description": as_text(row.get("description")) or "",
        "kind": as_text(row.get("kind")) or "",
        "user": as_text(row.get("user")) or "",
        "group": as_text(row.get("group")) or "",
        "category": as_text(row.get("category")) or "",
        "pool": as_text(row.get("pool")) or "default",
        "created_at": as_iso(row.get("created_at")),
        "source": {
            "url": without_secrets(source.get("url")) or None,
            "sha256": as_text(source.get("sha256")),
            "upload": bool(source.get("upload")),
            "size": as_number(source.get("size")),
            "file": as_text(source.get("file")),
        },
        "shared": any(isinstance(value, list) for value in allowed.values()),
        "catalogue": _catalogue(row["catalogue"]),
        "desired": wish(row["desired"]),
        "observed": _observed(seen, person),
        "condition": condition.value,
        "is_ready": seen.get("state") == MediaState.AVAILABLE
        and condition is MediaCondition.AVAILABLE,
        "can_save": may_change
        and seen.get("state") == MediaState.AVAILABLE
        and condition is MediaCondition.AVAILABLE,
        "can_import": row.get("kind") == "disk"
        and condition is MediaCondition.AVAILABLE
        and can_import(person, row),
        "import_defaults": asdict(described_by(seen)),
        "remedy": _remedy(seen, person),
        "actions": sorted(media_actions_of(row)) if may_change else [],
        "problem": problem_of(check_media(dict(raw))),
    }
    return payload | {"allowed": tidy_allowed(allowed)} if may_change else payload


def _observed(seen: Mapping[str, Any], person: Person) -> Payload:
    activity, progress = seen["activity"], seen["progress"]
    payload = {
        "state": seen.get("state") or MediaState.ABSENT.value,
        "activity": {
            "name": as_text(activity.get("name")) or "",
            "step": as_text(activity.get("step")) or "",
            "deadline": as_iso(activity.get("deadline")),
        }
        if activity
        else None,
        "progress": {key: as_number(progress.get(key)) for key in PROGRESS} if progress else None,
        "size": as_number(seen.get("size")),
        "sha256": as_text(seen.get("sha256")),
        "format": as_text(seen.get("format")),
        "hardware": hardware_of(seen),
        "reason": seen.get("reason"),
        "message": sentence(seen.get("message"), person),
        "failure": failure_of(seen["failure"], person) if seen["failure"] else None,
        "at": as_iso(seen.get("at")),
    }
    if person.is_admin:
        payload |= {key: as_text(seen.get(key)) for key in ("path", "hypervisor")}
    return payload


def _catalogue(entry: Mapping[str, Any]) -> Payload | None:
    return {key: as_text(entry.get(key)) or "" for key in ("id", "version")} if entry else None


def _remedy(seen: Mapping[str, Any], person: Person) -> str | None:
    failure = seen["failure"] or {}
    reason = failure.get("reason") or seen.get("reason")
    return remedy_for(reason, administrator=person.is_admin)
