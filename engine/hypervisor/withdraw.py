"""Takes the engine's key back out of a host: the other end of engine/hypervisor/enroll.py.

Only lines of `~/.ssh/authorized_keys` that let our key in go; whatever else is in the file, its
owner and mode stay, and the file is replaced by one rename. A session that is logged in outlives
its key, so what was taken out can be put back by the same one. Programs are constants, run by `sh`.
Called by engine/reconcilers/departure.py.
"""

from __future__ import annotations

from engine.hypervisor.enroll import authorize
from engine.hypervisor.host import HostAddress
from engine.hypervisor.login import authorized_keys_line
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings

WITHDRAW = r"""
set -eu
umask 077
cd
[ -e .ssh/authorized_keys ] || { echo absent; exit; }
file=$(readlink -f .ssh/authorized_keys)
grep -av '^[[:space:]]*#' "$file" | grep -aqF -- "$1" || { echo absent; exit; }
new=$(mktemp "$file.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cp -p -- "$file" "$new"
KEY=$1 LC_ALL=C awk '
  /^[ \t]*#/ { print; next }
  { ours = 0; for (i = 1; i <= NF; i++) if ($i == ENVIRON["KEY"]) ours = 1 }
  !ours { print }
' "$file" >"$new"
sync -- "$new"
mv -fT -- "$new" "$file"
if command -v restorecon >/dev/null; then restorecon -- "$file" || true; fi
echo removed
"""
"""$1: the key alone. Says `removed`, or `absent` where no line has it."""


class KeyWithdrawal:
    """One logged-in visit for taking the key out. Close it, whatever comes."""

    def __init__(self, address: HostAddress, settings: EngineSettings) -> None:
        self._session = SshSession(address, settings)

    def take_out(self) -> bool:
        """False where it was not in the file. Raises EngineErrors."""
        settings = self._session.settings
        key = authorized_keys_line(settings.ssh_key).split()[1]
        done = self._session.run(
            ["sh", "-c", WITHDRAW, "isard", key],
            timeout_s=settings.call_timeout_s,
            label="take out of ~/.ssh/authorized_keys",
        )
        return done.text.strip() == "removed"

    def put_back(self) -> None:
        """Somebody still wants it. Raises EngineErrors."""
        authorize(self._session)

    def close(self) -> None:
        self._session.close()
