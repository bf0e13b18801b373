"""The small shell program that holds a command on a host to its lock, its time and its channel.

`guarded` makes the command line; standard input is held open by the engine while it runs. When the
engine dies, sshd closes that input; the watcher sees its end and ends the command and all that it
started (they are one process group, led by `timeout`): nothing is left to run twice. It goes on
telling them until they are gone, because around a fork both shells and `timeout` lose signals, and
it alone sends any, so there is no moment at which it does not know whom to tell. Where the link is
cut silently, the command ends by its limit, and until then the lock makes its successor wait. A
lock file may be removed by its holder (delete does), so after waiting the file is looked at again:
a lock on a removed file protects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

GUARD_NO_LOCK = 73
"""The lock file cannot be made: its folder is not there."""
GUARD_BUSY = 75
GUARD_LATE = 124

_LOCKED = """
lock=$1 wait=$2; shift 2
while :; do
  { command exec 9>>"$lock"; } 2>/dev/null || exit 73
  flock -E 75 -w "$wait" 9 || exit
  [ "$lock" -ef /proc/self/fd/9 ] && break
done
"""
"""LOCK WAIT_S ARGUMENTS…: what follows it has the lock and ARGUMENTS."""

_COMMAND = 'exec "$@"'

GUARD = """
limit=$1 program=$2 name=$3; shift 3
exec 3<&0
timeout -k 5 "$limit" sh -c "$program" "$name" "$@" </dev/null 3<&- &
job=$!
(
  read -r line <&3
  trap "" TERM
  while kill -TERM "-$job" || kill -TERM "$job"; do sleep 0.1; done
) >/dev/null 2>&1 &
watcher=$!
wait "$job"; status=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
"""
"""LIMIT_S PROGRAM NAME ARGUMENTS…"""


def guarded(
    argv: Sequence[str],
    lock: str | None,
    *,
    wait_s: float,
    limit_s: float,
    shell: Sequence[str] = ("sh",),
) -> list[str]:
    """The command as it is run under the guard. A program of ours (`sh -c PROGRAM NAME …`) is run
    by the very shell that holds the lock. `lock` None: it takes its locks itself.
    """
    program, name, arguments = _COMMAND, "isard", argv
    if list(argv[:2]) == ["sh", "-c"] and len(argv) > 3:
        program, name, arguments = argv[2], argv[3], argv[4:]
    if lock is not None:
        program, arguments = _LOCKED + program, (lock, f"{wait_s:g}", *arguments)
    return [*shell, "-c", GUARD, "isard", f"{limit_s:g}", program, name, *arguments]


WITH_INPUT = """
ISARD_INPUT=$(head -c "$1") || exit
export ISARD_INPUT
shift
exec "$@"
"""
"""BYTES COMMAND…: gives the command what comes first on standard input as $ISARD_INPUT, the way for
what no list of processes may show. The rest of the input is the command's own.
"""
