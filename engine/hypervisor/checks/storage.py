"""One storage path on one host: is it there, is it the same storage as everywhere, is there room?

The proof that hosts share a storage is its marker file: the first disk host that looks at a path
puts one there with an id of its own, the database keeps that id, and every host of the pool must
see the same one.
"""

from __future__ import annotations

from engine.errors import CommandFailed
from engine.hypervisor.checks.visit import STORAGE, Check, Finding, Visit, failed, passed

PREFIX = "storage "
FREE_MIN_GIB = 1.0
GIB_KIB = 1024 * 1024

LOOK = """
path=$1
[ -d "$path" ] && echo there || echo missing
[ -w "$path" ] && echo writable || echo read-only
while [ ! -d "$path" ]; do path=${path%/*}; [ -n "$path" ] || path=/; done
df -Pk -- "$path" | awk 'NR == 2 {print $4, $6}'
cat -- "$1/.isard-storage.json" 2>/dev/null || exit 0
"""


def check_of(path: str, recorded: str | None) -> Check:
    """`recorded`: the id its marker must have; None where nobody has marked it yet."""

    def look(visit: Visit) -> Finding:
        return check_storage(visit, path, recorded)

    return Check(f"{PREFIX}{path}", f"Storage {path}", STORAGE, ("login",), look)


def check_storage(visit: Visit, path: str, recorded: str | None) -> Finding:
    try:
        done = visit.run(LOOK, path, label=f"df {path}")
    except CommandFailed as error:
        return failed(error.message, f"Look at {path} on the host.")
    there, writable, room, *rest = [*done.text.split("\n"), "", "", ""]
    free_kib, _, mount = room.partition(" ")
    free_gib = int(free_kib) / GIB_KIB if free_kib.isdigit() else 0.0
    marker = "".join(rest).strip()
    problem = _is_other_storage(visit, path, mount, marker, recorded)
    if problem is not None:
        return problem
    works_on_disks = visit.capabilities.get("disk_operations", False)
    if there != "there":
        return _missing(path, free_gib, works_on_disks)
    if works_on_disks and writable != "writable":
        user = visit.address.user
        return failed(
            f"{user} cannot write in {path}.",
            f"Mount it read-write, and let {user} own it (chown {user} {path}).",
        )
    if free_gib < FREE_MIN_GIB:
        return failed(
            f"Only {free_gib:.1f} GiB are free in {path}.", "Free some space or add a path."
        )
    shared = ", the same storage as on the other hosts" if recorded and marker else ""
    return passed(f"{path} is there{shared}; {free_gib:.1f} GiB are free.")


def _is_other_storage(
    visit: Visit, path: str, mount: str, marker: str, recorded: str | None
) -> Finding | None:
    """None where it is the right one, as far as can be told."""
    remedy = (
        f"Mount the storage that the other hosts of the pool have at {path} here too "
        f"(mount SERVER:EXPORT {path}, and a line in /etc/fstab). What is there now belongs to "
        f"the file system at {mount or '/'}."
    )
    if recorded is not None and not marker:
        return failed(
            f"{path} does not hold this installation's storage: its marker is not there.",
            f"{remedy} Nothing is made there until it is back.",
        )
    if not marker or not visit.installation:
        return None
    if f'"installation": "{visit.installation}"' not in marker:
        return failed(
            f"{path} holds the storage of another installation.",
            f"Mount the right storage at {path}, or give the pool another path.",
        )
    if recorded is not None and f'"path_id": "{recorded}"' not in marker:
        return failed(f"{path} holds another storage than on the other hosts, or before.", remedy)
    return None


def _missing(path: str, free_gib: float, works_on_disks: bool) -> Finding:
    if works_on_disks:
        return passed(f"{path} will be made at first use; {free_gib:.1f} GiB are free.")
    return passed(f"{path} is not there yet; the first disk host to use it makes it.")
