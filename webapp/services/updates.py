"""Updates, for administrators: what a catalogue offers, what of it is here, and its download.

The catalogue's address is in table `config` (row `updates`) beside what was last read of it, so
every webapp shows the same; it is empty at first, and then nothing is ever asked anywhere.
Downloading an entry makes an ordinary medium with the entry's checksum, or a system profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from db import desired, queries
from db.defaults import EVERYBODY
from db.media_states import MediaCondition, media_condition_of
from db.states import MediaDesired
from webapp.auth.permissions import Person, can_administer
from webapp.errors import Problem, not_found
from webapp.extensions import backend, database
from webapp.services import audit, media
from webapp.services.catalogue import (
    CatalogueRefused,
    MediaEntry,
    ProfileEntry,
    check_address,
    fetch,
)
from webapp.tidy import as_iso, as_mapping, as_mappings, as_text, as_time, tidy_media

Payload = dict[str, Any]
Row = dict[str, Any]
Entry = MediaEntry | ProfileEntry

NEW_FOR = timedelta(days=14)
CONFIG = "updates"
ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)

STATES: dict[MediaCondition, str] = {
    MediaCondition.WAITING: "downloading",
    MediaCondition.DOWNLOADING: "downloading",
    MediaCondition.CHECKING: "downloading",
    MediaCondition.UPLOADING: "downloading",
    MediaCondition.AVAILABLE: "downloaded",
    MediaCondition.FAILED: "failed",
}
"""What an entry is while there is a medium of it; the others are as if there were none."""


def read_updates(user: Person) -> Payload:
    _require_admin(user)
    row = _config()
    seen = as_mapping(row.get("seen"))
    here = _what_is_here()
    entries = [_show(entry, seen, here) for entry in _entries(row)]
    return {
        "url": as_text(row.get("url")) or "",
        "checked_at": as_iso(row.get("checked_at")),
        "problem": as_text(row.get("problem")),
        "entries": sorted(entries, key=lambda item: (item["name"].casefold(), item["version"])),
    }


def set_catalogue(user: Person, url: str) -> Payload:
    """An empty address: no catalogue, and nothing kept of the one before."""
    _require_admin(user)
    if url:
        try:
            check_address(url, backend().settings)
        except CatalogueRefused as error:
            raise Problem(422, "InvalidField", str(error), field="url") from error
    desired.put_config(database(), {"id": CONFIG, "url": url, "entries": [], "seen": {}})
    audit.record(user.actor, "updates.catalogue", "config/updates")
    return check(user) if url else read_updates(user)


def check(user: Person) -> Payload:
    """Read the catalogue now. One that cannot be read leaves what was read before, and says why."""
    _require_admin(user)
    row = _config()
    url = as_text(row.get("url")) or ""
    if not url:
        raise Problem(409, "NoCatalogue", "Set the address of a catalogue first.")
    now = datetime.now(UTC)
    try:
        found = fetch(url, backend().settings)
    except CatalogueRefused as error:
        desired.put_config(database(), {**row, "checked_at": now, "problem": str(error)})
        return read_updates(user)
    known = as_mapping(row.get("seen"))
    seen = {
        _key(entry): known.get(_key(entry)) or entry.published or now for entry in found.entries
    }
    entries = [entry.model_dump(mode="json", exclude_none=True) for entry in found.entries]
    fresh = {"entries": entries, "seen": seen, "checked_at": now, "problem": None}
    desired.put_config(database(), {"id": CONFIG, "url": url, **fresh})
    audit.record(user.actor, "updates.check", "config/updates", entries=len(entries))
    return read_updates(user)


def download(user: Person, entry_id: str) -> Payload:
    """Have an entry here, shared with everybody. One that is here already is no error."""
    _require_admin(user)
    entry = next((one for one in _entries(_config()) if one.id == entry_id), None)
    if entry is None:
        raise not_found("entry")
    if isinstance(entry, ProfileEntry):
        _keep_profile(entry)
    else:
        _fetch_medium(user, entry)
    audit.record(user.actor, "updates.download", f"catalogue/{entry.id}", version=entry.version)
    return next(item for item in read_updates(user)["entries"] if item["id"] == entry_id)


def _fetch_medium(user: Person, entry: MediaEntry) -> None:
    row = _what_is_here().get(_key(entry))
    if row is None:
        media.add_medium(
            user,
            {
                "name": f"{entry.name} {entry.version}"[:80],
                "kind": entry.kind,
                "description": entry.description,
                "source": {"url": entry.url, "sha256": entry.sha256},
                "allowed": EVERYBODY,
                "catalogue": {"id": entry.id, "version": entry.version},
            },
        )
    elif _state_of(row) in ("available", "failed"):
        media.wish_state(user, row["id"], MediaDesired.AVAILABLE)


def _keep_profile(entry: ProfileEntry) -> None:
    profile = entry.profile.model_dump(exclude={"spec"})
    spec = entry.profile.spec.model_dump(exclude_none=True)
    mark = {"id": entry.id, "version": entry.version}
    desired.put_profile(
        database(), {"id": entry.id, "name": entry.name, **profile, "spec": spec, "catalogue": mark}
    )


def _show(entry: Entry, seen: Mapping[str, Any], here: Mapping[str, Row]) -> Payload:
    row = here.get(_key(entry))
    state = _state_of(row) if row is not None else "available"
    first = as_time(seen.get(_key(entry)))
    if state == "available" and first is not None and datetime.now(UTC) - first < NEW_FOR:
        state = "new"
    size = entry.size if isinstance(entry, MediaEntry) else None
    return {
        "id": entry.id,
        "name": entry.name,
        "version": entry.version,
        "description": entry.description,
        "kind": entry.kind,
        "size": size,
        "published": as_iso(entry.published),
        "state": state,
        "media": row["id"] if row is not None and size is not None else None,
    }


def _what_is_here() -> dict[str, Row]:
    """Media and profiles by what entry they are of; of several media the one that is furthest."""
    order = {"available": 0, "failed": 1, "downloading": 2, "downloaded": 3}
    rows = [row for row in queries.list_rows(database(), "media") if row.get("catalogue")]
    rows.sort(key=lambda row: order[_state_of(row)])
    rows += [row for row in queries.list_rows(database(), "os_profiles") if row.get("catalogue")]
    return {_mark_of(row): row for row in rows}


def _state_of(row: Row) -> str:
    if "source" not in row:
        return "downloaded"  # a profile
    return STATES.get(media_condition_of(tidy_media(row)), "available")


def _mark_of(row: Row) -> str:
    mark = as_mapping(row.get("catalogue"))
    return f"{mark.get('id')}@{mark.get('version')}"


def _key(entry: Entry) -> str:
    return f"{entry.id}@{entry.version}"


def _entries(row: Mapping[str, Any]) -> list[Entry]:
    """What was kept of the catalogue; judged again, because scripts reach this table too."""
    found = []
    for value in as_mappings(row.get("entries")):
        try:
            found.append(ENTRY.validate_python(value))
        except ValidationError:
            continue
    return found


def _config() -> Row:
    return queries.get_row(database(), "config", CONFIG) or {"id": CONFIG, "url": ""}


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
