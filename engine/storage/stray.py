"""Looks at files on a disk host as files, not as somebody's disks: what is there, and what is built
upon one. For engine/loops/orphans.py and who cleans up after it.

Nothing is changed here. What is built upon a file is looked for in the heads of all disks of the
given paths, where qcow2 keeps the name of its backing file: reading is cheap, needs no lock, works
while guests run, and a name that is found for another reason only keeps a file from being deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.errors import CommandFailed, Terminal
from engine.hypervisor.ssh import SshSession
from engine.storage.faults import explain
from engine.storage.paths import (
    SUFFIX,
    DiskPlace,
    check_pool_path,
    split_disk_path,
    split_variables_path,
)
from engine.storage.programs import CREATED_WITH

HEAD_BYTES = 65536
"""qcow2's first cluster as it is made by default; the name stands in it."""

LIST = """
[ -f "$1/.isard-storage.json" ] || exit 81
exec find "$1" -mindepth 2 -maxdepth 2 -type f \\( -name '*.qcow2' -o -name nvram.fd \\) \\
  -printf '%s %T@ %P\\0'
"""
"""POOL-PATH"""

USERS = """
name=$1 bytes=$2; shift 2
for pool in "$@"; do
  [ -d "$pool" ] || continue
  find "$pool" -mindepth 1 -maxdepth 3 -type f -name '*.qcow2' -exec sh -c '
    name=$0 bytes=$1; shift
    for file in "$@"; do
      if head -c "$bytes" -- "$file" | grep -aqF -e "$name"; then printf "%s\\0" "$file"; fi
    done' "$name" "$bytes" {} + || exit
done
exit 0
"""
"""NAME BYTES POOL-PATH…"""


@dataclass(frozen=True)
class StrayFile:
    path: str
    domain_id: str
    size: int
    """Bytes of the file, holes included."""
    modified_at: datetime


def list_files(ssh: SshSession, pool_path: str) -> list[StrayFile]:
    """All files in the pool's path that have the shape of our disks, and UEFI's variables where no
    disk is beside them. Raises WrongStorage.
    """
    check_pool_path(pool_path)
    found: list[StrayFile] = []
    for entry in _run(ssh, [LIST, pool_path], pool_path, f"find {pool_path}").split("\0"):
        size, _, rest = entry.partition(" ")
        modified, _, name = rest.partition(" ")
        try:
            path = f"{pool_path}/{name}"
            place = split_variables_path(path) or split_disk_path(path)
            at = datetime.fromtimestamp(float(modified), UTC)
            found.append(StrayFile(path, place.domain_id, int(size), at))
        except (Terminal, ValueError, OverflowError):
            continue  # another shape: not ours to speak of
    with_disks = {one.domain_id for one in found if one.path.endswith(SUFFIX)}
    return [one for one in found if one.path.endswith(SUFFIX) or one.domain_id not in with_disks]


def find_users(ssh: SshSession, place: DiskPlace, pool_paths: Sequence[str]) -> list[str]:
    """The disks below these paths whose head names this one, however it is written there."""
    for path in pool_paths:
        check_pool_path(path)
    name = f"{place.domain_id}/{place.disk_id}{SUFFIX}"
    label = f"grep {name} in the heads of all disks"
    answer = _run(ssh, [USERS, name, str(HEAD_BYTES), *pool_paths], place.pool_path, label)
    return sorted(path for path in answer.split("\0") if path and path != place.path)


def _run(ssh: SshSession, words: Sequence[str], pool_path: str, label: str) -> str:
    program, *values = words
    try:
        done = ssh.run(
            ["sh", "-c", program, CREATED_WITH, *values],
            timeout_s=ssh.settings.disk_timeout_s,
            label=label,
        )
    except CommandFailed as error:
        raise explain(error, f"{pool_path} on {ssh.address}", "list") from error
    return done.text
