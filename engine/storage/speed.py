"""How fast a storage path is from one host: a file is written and read there once, with the cache
left out where the file system allows it.

Bounded on purpose: a small file of noise (so that no compression flatters), under a lock and a
time limit on the host, and gone whatever happens. Only on storage that carries this installation's
mark, and only when somebody asks. Called by engine/reconcilers/measure.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineError
from engine.hypervisor.guard import GUARD_NO_LOCK
from engine.hypervisor.ssh import SshSession
from engine.storage.paths import MARKER_NAME, check_pool_path, locks_folder

SIZE_MIB = 64
LIMIT_S = 60.0
WAIT_S = 15.0
NOT_OURS, NO_ROOM, NOT_WRITTEN = 81, 91, 92

PROGRAM = f"""
path=$1 installation=$2 mib=$3
grep -qF -- "\\"installation\\": \\"$installation\\"" "$path/{MARKER_NAME}" || exit 81
free=$(df -Pk -- "$path" | awk 'NR == 2 {{print $4}}')
[ "$free" -gt "$((mib * 4096))" ] || exit 91
noise=$path/.isard-speed.noise file=$path/.isard-speed.file
export LC_ALL=C
trap 'rm -f -- "$noise" "$file" "$file.said"' EXIT
trap 'exit 143' TERM INT HUP
dd if=/dev/urandom of="$noise" bs=1M count="$mib" conv=fsync 2>/dev/null || exit 92
direct=direct
dd if="$noise" of="$file" bs=1M oflag=direct conv=fsync 2>"$file.said" || {{
  direct=cached
  dd if="$noise" of="$file" bs=1M conv=fsync 2>"$file.said" || exit 92
}}
tail -n 1 "$file.said"
if [ "$direct" = direct ]; then
  dd if="$file" of=/dev/null bs=1M iflag=direct 2>"$file.said" || exit 92
else
  dd if="$file" iflag=nocache count=0 2>/dev/null
  dd if="$file" of=/dev/null bs=1M 2>"$file.said" || exit 92
fi
tail -n 1 "$file.said"
echo "$direct"
"""
"""PATH INSTALLATION MIB -> what dd says of writing, of reading, and `direct` or `cached`"""

PROBLEMS = {
    NOT_OURS: "It does not carry this installation's mark (yet): nothing was measured.",
    NO_ROOM: "There is too little room to measure.",
    NOT_WRITTEN: "The host cannot write there.",
    GUARD_NO_LOCK: "The host cannot write there.",
}


@dataclass(frozen=True)
class Speed:
    """None with the `message` that says why. `cached`: the file system does not
    let one go round the cache, so the reading says little.
    """

    path: str
    write_bytes_s: float | None = None
    read_bytes_s: float | None = None
    cached: bool = False
    message: str = ""

    def as_field(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "write_bytes_s": self.write_bytes_s,
            "read_bytes_s": self.read_bytes_s,
            "cached": self.cached,
            "message": self.message,
        }


def measure(ssh: SshSession, path: str, installation: str) -> Speed:
    """Raises HostLost; what else is wrong is the result's message."""
    check_pool_path(path)
    try:
        done = ssh.run_locked(
            f"{locks_folder(path, installation)}/speed",
            ["sh", "-c", PROGRAM, "isard", path, installation, str(SIZE_MIB)],
            timeout_s=LIMIT_S,
            wait_s=WAIT_S,
            check=False,
            label=f"dd in {path}",
        )
    except EngineError as error:
        if error.step == "ssh":
            raise
        status = getattr(error, "exit_status", None)
        return Speed(path, message=PROBLEMS.get(status or 0, error.message))
    if done.exit_status != 0:
        said = done.error_text or f"dd failed with status {done.exit_status}."
        return Speed(path, message=PROBLEMS.get(done.exit_status, said))
    return read_speed(path, done.text)


def read_speed(path: str, text: str) -> Speed:
    """What PROGRAM printed."""
    seconds = [float(found) for found in re.findall(r"copied, ([0-9.e+-]+) s", text)]
    if len(seconds) != 2:
        return Speed(path, message="What dd said cannot be read.")
    write, read = (round(SIZE_MIB * 1024**2 / max(one, 1e-3)) for one in seconds)
    return Speed(path, write, read, cached="cached" in text.split())
