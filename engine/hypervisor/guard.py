"""The small shell program that holds a command on a host to its lock, its time and its channel.

Run as `sh -c GUARD isard LOCK WAIT_S LIMIT_S COMMAND…` with standard input held open by the engine.
When the engine dies, sshd closes that input, the watcher sees its end and stops the command:
nothing is left to run twice. Where the link is cut silently, the command ends by its limit, and
until then the lock makes its successor wait. A lock file may be removed by its holder (delete
does), so after waiting the file is looked at again: a lock on a removed file protects nothing.
The command is told to stop again and again: between fork and exec a shell's child swallows signals.
"""

from __future__ import annotations

GUARD_NO_LOCK = 73
"""The lock file cannot be made: its folder is not there."""
GUARD_BUSY = 75
GUARD_LATE = 124

GUARD = """
lock=$1 wait=$2 limit=$3; shift 3
exec 3<&0
me=$$
end() {
  trap "" TERM
  job=$!
  while kill -TERM "$job"; do sleep 0.1; done >/dev/null 2>&1 &
  wait "$job"
  exit 143
}
trap end TERM
( read -r line <&3; kill -TERM "$me" ) >/dev/null 2>&1 &
watcher=$!
while :; do
  { command exec 9>>"$lock"; } 2>/dev/null || { kill "$watcher"; exit 73; }
  flock -E 75 -w "$wait" 9 &
  wait "$!" || { status=$?; kill "$watcher"; exit "$status"; }
  held=$(stat -L -c %i -- /proc/self/fd/9 2>/dev/null)
  [ "$held" = "$(stat -c %i -- "$lock" 2>/dev/null)" ] && break
done
timeout -k 5 "$limit" "$@" </dev/null &
wait "$!"; status=$?
kill "$watcher"
exit "$status"
"""
