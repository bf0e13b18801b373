"""The public keys of viewer tickets on a host: whether they are there, and putting them there.

The viewer proxy (hyper_image/tickets.py) reads `/etc/isard/tickets/<key id>.pem` and the host's own
name in `/etc/isard/hypervisor_id`. Keys of other names are somebody else's and stay. Another user
than root needs `sudo` without a password to write there. Used by engine/hypervisor/enroll.py and by
the check of ticket keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.hypervisor.ssh import SshSession

TICKET_KEYS = "/etc/isard/tickets"

COMPARE = """
folder=$1; shift
while [ "$#" -gt 1 ]; do
  if [ -f "$folder/$1.pem" ] && [ "$(cat -- "$folder/$1.pem")" = "$2" ]; then :; else
    echo "$1"
  fi
  shift 2
done
"""
"""FOLDER, then pairs of a key's id and the key: names those that are missing or another."""

PUT = """
set -eu
umask 022
put() {
  [ -f "$1" ] && [ "$(cat "$1")" = "$2" ] && return
  printf '%s\\n' "$2" >"$1.new"
  mv "$1.new" "$1"
}
mkdir -p /etc/isard/tickets
[ "$1" = restore ] && [ -s /etc/isard/hypervisor_id ] || put /etc/isard/hypervisor_id "$2"
shift 2
while [ "$#" -gt 1 ]; do
  put "/etc/isard/tickets/$1.pem" "$2"
  shift 2
done
"""
"""enrol|restore, the hypervisor's id, then pairs of a key's id and the key. Only an enrolment gives
a host another name than it has.
"""


def find_lacking(session: SshSession, keys: Mapping[str, str]) -> list[str]:
    """The ids of keys that the host does not have, or has with another value. Raises
    EngineErrors.
    """
    done = session.run(
        ["sh", "-c", COMPARE, "isard", TICKET_KEYS, *_as_pairs(keys)],
        timeout_s=session.settings.call_timeout_s,
        label=f"compare {TICKET_KEYS}",
    )
    return done.text.split()


def put_keys(session: SshSession, keys: Mapping[str, str], *, enrols: bool) -> str | None:
    """Why they could not be put there, or None. Raises EngineErrors where the host is lost."""
    how = "enrol" if enrols else "restore"
    program = ["sh", "-c", PUT, "isard", how, session.address.id, *_as_pairs(keys)]
    argv = program if session.address.user == "root" else ["sudo", "-n", *program]
    done = session.run(argv, timeout_s=session.settings.call_timeout_s, check=False)
    return None if done.exit_status == 0 else done.error_text or "no answer"


def _as_pairs(keys: Mapping[str, str]) -> list[str]:
    return [part for key_id in sorted(keys) for part in (key_id, keys[key_id].strip())]
