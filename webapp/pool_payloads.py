"""The serializer's part for pools and networks, of which only administrators read. See
`webapp.payloads` for how its shapes are described; webapp/api/pool_models.py declares them.

pool {
  id, name, description, balancer, cpu_mode: null | text,
  paths: {bases|templates|groups|media: [{path, disk_operations: [id], weight}]},   (for editing)
  storage: [{use, entries: [{path, weight, owners: [id], state, tone, disks, proof, free_bytes,
             size_bytes, used_percent, space, hosts: [{id, owner, ok, message}],
             message, remedy}]}],                                      (the same with what is seen)
  observed: {state: "ok"|"degraded"|"failed"|"unknown", tone, reason, message, waiting,
             removed: [{path, disks}], at},
  allowed, shared, shared_with: as of a network,
  problem: null | {field, message}
}
network {
  id, name, description, kind: "network"|"bridge"|"isolated", network, bridge, model, addresses,
  source: what it is called on a host, allowed: {roles, categories, groups, users},
  shared: "everybody"|"some"|"nobody", shared_with: [text], problem: null | {field, message}
}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from db.rowcheck import USES, RowProblem, check_interface, check_pool, paths_of
from db.sharing import pool_allowed
from webapp.tidy import as_iso, as_list, as_mapping, as_mappings, as_number, as_text

Payload = dict[str, Any]

SHARING = {"roles": "role", "categories": "category", "groups": "group", "users": "user"}
"""Each list of `allowed`, named as the table is, and the word for one of it."""
NAMED = 3
"""So many of one kind are told by their names; of more, how many they are."""
TONES = {"ok": "ok", "degraded": "warn", "failed": "bad"}
FULL_PERCENT, NEARLY_FULL_PERCENT = 95, 85


def pool(row: Mapping[str, Any]) -> Payload:
    seen = as_mapping(row.get("observed"))
    state = as_text(seen.get("state")) or "unknown"
    return {
        "id": str(row["id"]),
        "name": as_text(row.get("name")) or str(row["id"]),
        "description": as_text(row.get("description")) or "",
        "balancer": as_text(row.get("balancer")) or "free_memory",
        "cpu_mode": as_text(row.get("cpu_mode")),
        "paths": {use: [_path(entry) for entry in paths_of(row, use)] for use in USES},
        "storage": [_storage(row, use, as_mappings(seen.get("paths"))) for use in USES],
        "observed": {
            "state": state,
            "tone": TONES.get(state),
            "reason": as_text(seen.get("reason")),
            "message": as_text(seen.get("message")),
            "waiting": as_number(seen.get("waiting")) or 0,
            "removed": [
                {"path": as_text(one.get("path")) or "", "disks": as_number(one.get("disks")) or 0}
                for one in as_mappings(seen.get("removed"))
            ],
            "at": as_iso(seen.get("at")),
        },
        **_sharing(pool_allowed(row)),
        "problem": problem_of(check_pool(dict(row))),
    }


def network(row: Mapping[str, Any]) -> Payload:
    kind = as_text(row.get("kind")) or "network"
    name = as_text(row.get("network")) or "default"
    bridge = as_text(row.get("bridge"))
    return {
        "id": str(row["id"]),
        "name": as_text(row.get("name")) or str(row["id"]),
        "description": as_text(row.get("description")) or "",
        "kind": kind,
        "network": name if kind == "network" else None,
        "bridge": bridge,
        "source": {"network": name, "bridge": bridge or ""}.get(kind, f"isard-{row['id']}"),
        "model": as_text(row.get("model")) or "virtio",
        "addresses": as_text(row.get("addresses")) or ("first" if kind == "isolated" else "dhcp"),
        **_sharing(row.get("allowed")),
        "problem": problem_of(check_interface(dict(row))),
    }


def _sharing(given: object) -> Payload:
    allowed = {key: _ids(as_mapping(given).get(key)) for key in SHARING}
    lists = [value for value in allowed.values() if value is not False]
    everybody = [] in lists
    return {
        "allowed": allowed,
        "shared": "everybody" if everybody else "some" if lists else "nobody",
        "shared_with": []
        if everybody
        else [text for key in SHARING for text in _told(key, allowed[key] or [])],
    }


def _told(kind: str, ids: list[str]) -> list[str]:
    if len(ids) > NAMED:
        return [f"{len(ids)} {kind}"]
    return [f"{SHARING[kind]} {one}" for one in ids]


def _ids(value: object) -> list[str] | Literal[False]:
    return [str(one) for one in value] if isinstance(value, list) else False


def problem_of(problem: RowProblem | None) -> Payload | None:
    return {"field": problem.field, "message": problem.message} if problem else None


def _path(entry: Mapping[str, Any]) -> Payload:
    weight = as_number(entry.get("weight"))
    return {
        "path": str(entry["path"]),
        "disk_operations": [str(name) for name in as_list(entry.get("disk_operations"))],
        "weight": 100 if weight is None else weight,
    }


def _storage(row: Mapping[str, Any], use: str, seen: list[dict[str, Any]]) -> Payload:
    looked = {str(one.get("path")): one for one in seen if one.get("use") == use}
    entries = [_path(entry) for entry in paths_of(row, use)]
    return {"use": use, "entries": [_entry(one, looked.get(one["path"], {})) for one in entries]}


def _entry(path: Payload, seen: Mapping[str, Any]) -> Payload:
    state = as_text(seen.get("state")) or "unknown"
    free, size = as_number(seen.get("free_bytes")), as_number(seen.get("size_bytes"))
    used = round(100 * (size - free) / size, 1) if size and free is not None else None
    same = seen.get("same_storage")
    return {
        "path": path["path"],
        "weight": path["weight"],
        "owners": path["disk_operations"],
        "state": state,
        "tone": TONES.get(state),
        "disks": as_number(seen.get("disks")) or 0,
        "proof": "same" if same is True else "different" if same is False else "unproved",
        "free_bytes": free,
        "size_bytes": size,
        "used_percent": used,
        "space": _space(used),
        "hosts": [
            {
                "id": as_text(host.get("id")) or "",
                "owner": host.get("owner") is True,
                "ok": host.get("ok") is True,
                "message": as_text(host.get("message")) or "",
            }
            for host in as_mappings(seen.get("hosts"))
        ],
        "message": as_text(seen.get("message")) or "",
        "remedy": as_text(seen.get("remedy")) or "",
    }


def _space(used: float | None) -> str | None:
    if used is None:
        return None
    return "bad" if used >= FULL_PERCENT else "warn" if used >= NEARLY_FULL_PERCENT else "ok"
