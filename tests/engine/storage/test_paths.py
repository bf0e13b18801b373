"""Paths are computed or refused; what a row leaves out is derived, the same each time."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.rowcheck import DISK_ID, MAC
from engine.errors import Terminal
from engine.storage.paths import (
    check_disk_path,
    check_pool_path,
    choose_pool_path,
    derive_disks,
    derive_mac,
    disk_path,
    is_inside,
    larger_size,
    split_disk_path,
)

POOL = "/opt/isard/groups"
ID = "0b9c3c6e-8d53-4b3f-9d0e-2f3a4b5c6d7e"
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["..", ".", "a/../b", "a\nb", "$(id)", "'", '"', "disk0\n", "/etc/passwd", ""]),
)


def test_a_path_and_its_parts() -> None:
    path = disk_path(POOL, ID, "disk0")
    assert path == f"{POOL}/{ID}/disk0.qcow2"
    place = split_disk_path(path)
    assert (place.pool_path, place.domain_id, place.disk_id) == (POOL, ID, "disk0")
    assert place.lock("inst") == f"{POOL}/.isard-locks/inst/{ID}.disk0"
    assert place.unpublished("t1") == f"{POOL}/{ID}/.disk0.t1.part"


@given(pool=HOSTILE, domain=HOSTILE, disk=HOSTILE)
def test_no_parts_lead_out_of_the_pool(pool: str, domain: str, disk: str) -> None:
    for parts in ((POOL, ID, disk), (POOL, domain, "disk0"), ("/" + pool, ID, "disk0")):
        try:
            path = disk_path(*parts)
        except Terminal:
            continue
        assert is_inside(path, parts[0])
        assert path.count("/") == parts[0].count("/") + 2
        assert re.fullmatch(r"[A-Za-z0-9._+@=/ -]*", path)
        assert split_disk_path(path).path == path


@given(HOSTILE)
def test_a_path_of_any_other_shape_is_refused(text: str) -> None:
    for path in (text, "/" + text, f"{POOL}/{ID}/{text}", f"{POOL}/{ID}/../{ID}/{text}.qcow2"):
        try:
            place = split_disk_path(path)
        except Terminal as error:
            reason = error.reason
            assert reason == "InvalidRow"
            continue
        assert re.fullmatch(DISK_ID, place.disk_id)
        assert ".." not in path.split("/")


@pytest.mark.parametrize(
    "pool",
    ["", "/", "relative", "/a/../b", "/a//b", "//a", "/a/", "/a/.", "/a\n", "/a;b", "/a$b", "/ä"],
)
def test_odd_pool_paths_are_refused(pool: str) -> None:
    with pytest.raises(Terminal, match="not a storage path"):
        check_pool_path(pool)


def test_a_recorded_path_must_be_the_rows_own_and_in_the_pool() -> None:
    path = disk_path(POOL, ID, "disk0")
    assert check_disk_path(path, ID, [POOL]).path == path
    with pytest.raises(Terminal, match="does not belong"):
        check_disk_path(path, str(uuid.uuid4()), [POOL])
    with pytest.raises(Terminal, match="outside the pool"):
        check_disk_path(path, ID, ["/opt/isard"])


def test_inside_is_not_fooled() -> None:
    assert is_inside("/a/b/c", "/a/b")
    for path in ("/a/b", "/a/bc", "/a/b/../c", "a/b/c", "/a/b/../../etc/passwd"):
        assert not is_inside(path, "/a/b")


def test_a_row_without_disks_has_one() -> None:
    (disk,) = derive_disks({"origin": {"template": ID}})
    assert (disk.id, disk.bus, disk.size_gib) == ("disk0", "virtio", None)
    (sized,) = derive_disks({"origin": {"media": ID, "size_gib": 12}})
    assert sized.size_gib == 12


def test_ids_left_out_avoid_those_given() -> None:
    disks = [{}, {"id": "disk1", "bus": "sata"}, {"size_gib": 3}, {"id": "data"}]
    planned = derive_disks({"spec": {"disks": disks}})
    assert [disk.id for disk in planned] == ["disk0", "disk1", "disk2", "data"]
    assert planned[1].bus == "sata"
    assert derive_disks({"spec": {"disks": disks}}) == planned


@given(st.lists(st.sampled_from(["disk0", "disk1", "disk2", None]), min_size=1, max_size=4))
def test_ids_are_never_doubled(given_ids: list[str | None]) -> None:
    named = [one for one in given_ids if one]
    if len(named) != len(set(named)):
        return  # refused by db.rowcheck before
    ids = [disk.id for disk in derive_disks({"spec": {"disks": [{"id": i} for i in given_ids]}})]
    assert len(set(ids)) == len(ids)


def test_macs_are_local_unicast_and_stable() -> None:
    macs = {derive_mac(str(uuid.UUID(int=n)), at) for n in range(2000) for at in range(2)}
    assert len(macs) == 4000
    assert all(re.fullmatch(MAC, mac) and int(mac[:2], 16) & 3 == 2 for mac in macs)
    assert derive_mac(ID, 0) == derive_mac(ID, 0) != derive_mac(ID, 1)


def pool_of(*paths: dict[str, object]) -> dict[str, object]:
    return {"paths": {"groups": list(paths)}}


def test_paths_are_chosen_by_weight_and_stay_chosen() -> None:
    pool = pool_of({"path": "/a", "weight": 300}, {"path": "/b", "weight": 100})
    keys = [str(uuid.UUID(int=n)) for n in range(2000)]
    first = {key: (choose_pool_path(pool, "groups", key) or {})["path"] for key in keys}
    share = sum(path == "/a" for path in first.values()) / len(keys)
    assert 0.7 < share < 0.8
    more = pool_of({"path": "/a", "weight": 300}, {"path": "/b", "weight": 100}, {"path": "/c"})
    moved = {key: (choose_pool_path(more, "groups", key) or {})["path"] for key in keys}
    assert all(moved[key] in (first[key], "/c") for key in keys)


def test_a_path_needs_a_host_that_works_on_it() -> None:
    pool = pool_of(
        {"path": "/a", "disk_operations": ["nas"]}, {"path": "/b", "disk_operations": []}
    )
    for key in ("x", "y", "z", "u", "v"):
        chosen = choose_pool_path(pool, "groups", key, {"h1"})
        assert chosen is not None
        assert chosen["path"] == "/b"
    only = pool_of({"path": "/a", "disk_operations": ["nas"]})
    assert choose_pool_path(only, "groups", "x", {"h1"}) is None
    assert choose_pool_path(only, "groups", "x", {"nas"}) is not None
    assert choose_pool_path(pool_of({"path": "/a", "weight": 0}), "groups", "x") is None
    assert choose_pool_path({}, "groups", "x") is None
    assert choose_pool_path(pool_of({"path": "/a"}), "media", "x") is None


@pytest.mark.parametrize(
    ("wanted", "below", "size"),
    [
        (20, 10 * 1024**3, 20),
        (10, 10 * 1024**3, None),
        (5, 10 * 1024**3, None),
        (None, 10 * 1024**3, None),
        (20, None, 20),
        (20, "10", 20),
    ],
)
def test_no_overlay_is_smaller_than_what_it_is_built_upon(
    wanted: float | None, below: object, size: float | None
) -> None:
    assert larger_size(wanted, below) == size
