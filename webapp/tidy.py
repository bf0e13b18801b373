"""Rows as they can be read without fear. Pure.

A script may have written anything into the open database: a list where a mapping belongs, a number
for a name. The engine reports such a row; the web side must still show it and let it be deleted.
`tidy_domain`, `tidy_hypervisor` and the others return a copy in which every part that code looks
into has the type it should have; what had another type is left out. Used by payloads and services.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def tidy_domain(row: Mapping[str, Any]) -> Row:
    observed = tidy_observed(row.get("observed"))
    for key in ("activity", "failure", "for", "viewer"):
        observed[key] = as_mapping(observed.get(key)) or None
    for key in ("disks", "interfaces"):
        observed[key] = as_mappings(observed.get(key))
    return {
        **row,
        "desired": tidy_desired(row.get("desired")),
        "observed": observed,
        "origin": as_mapping(row.get("origin")),
        "spec": as_mapping(row.get("spec")),
        "placement": as_mapping(row.get("placement")),
    }


def tidy_hypervisor(row: Mapping[str, Any]) -> Row:
    observed = tidy_observed(row.get("observed"))
    observed["checks"] = as_mappings(observed.get("checks"))
    observed["info"] = as_mapping(observed.get("info"))
    return {
        **row,
        "desired": tidy_desired(row.get("desired")),
        "observed": observed,
        "viewer": as_mapping(row.get("viewer")),
        "capabilities": as_mapping(row.get("capabilities")),
    }


def tidy_media(row: Mapping[str, Any]) -> Row:
    observed = tidy_observed(row.get("observed"))
    for key in ("activity", "failure", "for", "progress"):
        observed[key] = as_mapping(observed.get(key)) or None
    return {
        **row,
        "desired": tidy_desired(row.get("desired")),
        "observed": observed,
        "source": as_mapping(row.get("source")),
        "catalogue": as_mapping(row.get("catalogue")),
    }


def tidy_desired(value: object) -> Row:
    desired = as_mapping(value)
    by = desired.get("by")
    return {
        "state": as_text(desired.get("state")) or "",
        "at": as_time(desired.get("at")),
        "by": by if isinstance(by, str | Mapping) else None,
        "force": desired.get("force"),
    }


def tidy_observed(value: object) -> Row:
    observed = as_mapping(value)
    for key in ("state", "reason", "message", "hypervisor", "virtualization", "disk_operations"):
        if key in observed:
            observed[key] = as_text(observed[key])
    if observed.get("state") is None:
        observed.pop("state", None)
    return observed


def as_mapping(value: object) -> Row:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def as_mappings(value: object) -> list[Row]:
    return [as_mapping(item) for item in as_list(value) if isinstance(item, Mapping)]


def as_list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def as_number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def as_iso(value: object) -> str | None:
    """A time as ISO 8601 in UTC with milliseconds, or None."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
