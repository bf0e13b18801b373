"""Desktops made from media: installed from an ISO image, or a copy of a disk image; and what is in
their drives. Called by the API and the pages.

A profile of table `os_profiles` says which hardware suits the system; who makes the desktop may
change what a person would (processors, memory, firmware, disk). Whatever goes into a drive must be
a medium this person may use.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from db import desired, queries
from db.media_states import MediaCondition, media_condition_of
from db.rowcheck import SpecModel
from db.states import Action, Condition, Kind, condition_of
from webapp import payloads
from webapp.auth.permissions import Person
from webapp.errors import Problem
from webapp.extensions import database
from webapp.services import audit, desktops, media, pools
from webapp.tidy import as_mapping, as_mappings, as_number, as_text, tidy_domain, tidy_media

Payload = dict[str, Any]
Row = dict[str, Any]

DEFAULT_PROFILE = "other"


def list_profiles() -> list[Payload]:
    """By rank, then name. A row a script damaged is left out."""
    listed = []
    for row in queries.list_rows(database(), "os_profiles"):
        try:
            spec = SpecModel.model_validate(as_mapping(row.get("spec")))
        except ValidationError:
            continue
        listed.append(
            {
                "id": str(row["id"]),
                "name": as_text(row.get("name")) or str(row["id"]),
                "family": as_text(row.get("family")) or "other",
                "rank": as_number(row.get("rank")) or 0,
                "size_gib": as_number(row.get("size_gib")) or 20,
                "drivers": as_text(row.get("drivers")) or "",
                "spec": payloads.spec(spec.model_dump(exclude_none=True)),
            }
        )
    return sorted(listed, key=lambda item: (item["rank"], item["name"].casefold()))


def list_usable(user: Person) -> list[Payload]:
    """The media that `create_from_media` takes of this person, or will once they are there."""
    return [
        one
        for one in media.list_media(user)
        if _unfit(one["kind"], one["observed"]["format"]) is None
    ]


def create_from_media(user: Person, fields: Mapping[str, Any]) -> Payload:
    """`fields`: name, media, size_gib, os, and what of spec, description and icon is known."""
    media.require_adding(user)
    desktops.require_disk_size(user, fields.get("size_gib"), "origin.size_gib")
    medium = _find_medium(user, fields["media"], "origin.media")
    profile = find_profile(fields.get("os") or DEFAULT_PROFILE)
    is_disk = medium.get("kind") == "disk"
    format = as_text(tidy_media(medium)["observed"].get("format"))
    _refuse_unfit(str(medium.get("kind")), format)
    wanted = dict(fields.get("spec") or {})
    drives = wanted.pop("media", None)
    if drives is None:
        drives = [] if is_disk else [{"id": medium["id"]}]
    spec = spec_of(profile, wanted)
    spec["media"] = _judge_drives(user, drives)
    size_gib = fields.get("size_gib") or (None if is_disk else profile["size_gib"])
    pool = as_text(medium.get("pool")) or "default"
    pools.refuse_unshared(user, pool, "origin.media")
    row = {
        "id": str(uuid.uuid4()),
        "kind": Kind.DESKTOP.value,
        "name": fields["name"],
        "description": fields.get("description") or "",
        "icon": fields.get("icon") or "",
        "os": profile["name"],
        "user": user.id,
        "group": user.group,
        "category": user.category,
        "origin": {"media": medium["id"], **({"size_gib": size_gib} if size_gib else {})},
        "parents": [],
        "spec": spec,
        "placement": {"pool": pool},
    }
    made = desired.create_domain(database(), row, user.actor)
    audit.record(user.actor, "desktop.create", f"domain/{made['id']}", media=medium["id"])
    return payloads.desktop(made, user)


def change_drives(user: Person, desktop_id: str, drives: Sequence[Mapping[str, Any]]) -> Payload:
    """Put in and take out, running or not. A drive that is new comes with the next start."""
    row = desktops.find(user, desktop_id)
    if condition_of(tidy_domain(row)) is Condition.DELETING:
        desktops.require_action(user, row, Action.EDIT)
    present = {drive.get("id") for drive in as_mappings(as_mapping(row.get("spec")).get("media"))}
    judged = _judge_drives(user, drives, present)
    after = desired.edit_domain(database(), row["id"], {"spec": {"media": judged}})
    audit.record(user.actor, "desktop.media", f"domain/{row['id']}")
    return payloads.desktop(after, user)


def _judge_drives(
    user: Person, drives: Sequence[Mapping[str, Any]], present: set[Any] | None = None
) -> list[dict[str, Any]]:
    """What is in a drive already may stay there, even where it is shared no more."""
    for at, drive in enumerate(drives):
        media_id = drive.get("id")
        if media_id is None or media_id in (present or ()):
            continue
        medium = _find_medium(user, media_id, f"spec.media.{at}.id")
        if medium.get("kind") not in ("iso", "floppy"):
            text = "Only ISO and floppy images go into a drive."
            raise Problem(422, "InvalidField", text, field=f"spec.media.{at}.id")
    return [{"id": drive.get("id")} for drive in drives]


def _unfit(kind: str, format: str | None) -> tuple[str, str] | None:
    """Why no desktop is installed from, or a copy of, such a medium: (reason, sentence)."""
    if kind == "floppy":
        return "InvalidField", "Desktops are installed from ISO images or made of disk images."
    if kind == "disk" and format not in (None, "", "qcow2", "raw"):
        text = f"An image of format {format} is taken over by an order: "
        return "NeedsImport", text + "choose Make a desktop of it on the page Media."
    return None


def _refuse_unfit(kind: str, format: str | None) -> None:
    unfit = _unfit(kind, format)
    if unfit is not None:
        raise Problem(422, *unfit, field="origin.media")


def _find_medium(user: Person, media_id: str, field: str) -> Row:
    try:
        row = media.find(user, media_id)
    except Problem as problem:
        text = "There is no such medium."
        raise Problem(422, "NoSuchMedium", text, field=field) from problem
    if media_condition_of(tidy_media(row)) is MediaCondition.DELETING:
        raise Problem(422, "BeingDeleted", "This medium is being deleted.", field=field)
    return row


def find_profile(profile_id: str, field: str = "os") -> Payload:
    """Raises 422 where there is none; `field` is the request's."""
    found = next((item for item in list_profiles() if item["id"] == profile_id), None)
    if found is None:
        raise Problem(422, "NoSuchProfile", "There is no such system profile.", field=field)
    return found


def spec_of(profile: Payload, wanted: dict[str, Any]) -> dict[str, Any]:
    """The profile's hardware with what was wanted otherwise."""
    row = queries.get_row(database(), "os_profiles", profile["id"]) or {}
    bus = wanted.pop("disk_bus", None)
    spec = {**as_mapping(row.get("spec")), **wanted}
    if spec.get("firmware") != "uefi":
        spec["secure_boot"] = False
    disks = as_mappings(spec.get("disks")) or [{"id": "system"}]
    if bus:
        disks = [{**disks[0], "bus": bus}, *disks[1:]]
    return SpecModel.model_validate({**spec, "disks": disks}).model_dump(exclude_none=True)
