"""Overlays that several threads want on one disk host at about the same time, made by one command.

A school makes its desktops by the hundred, and what a command costs beside `qemu-img` (a channel, a
guard, a few processes) is more than `qemu-img` itself. So those upon the same template, on the same
path, are gathered and made by one guarded command, each under its own lock and exactly as it would
be made alone. That is all it is good for: the command says which it made, and whoever is not among
them (its lock is held, it failed, the command came to nothing) is made alone, so each has its own
time and its own reason, and none has its neighbour's. Used by engine.storage.disks.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from db.logs import get_logger
from engine.errors import EngineError, HostLost
from engine.hypervisor.ssh import SshSession
from engine.storage import programs, qemu_img
from engine.storage.gathering import Gathering
from engine.storage.paths import DiskPlace, locks_folder

log = get_logger(__name__)

TOGETHER = 7
"""The program holds a lock for each from its first to its last step, on descriptors of one digit
(all that some shells have) from 3 on.
"""
AT_ONCE = 2
"""Commands upon one template: one alone leaves all cores of the host idle but one."""


class Overlays:
    """Those of one host. Any thread may call."""

    def __init__(self, ssh: SshSession, installation: str) -> None:
        self._ssh = ssh
        self._installation = installation
        self._gathering: Gathering[DiskPlace, bytes | HostLost] = Gathering(TOGETHER, AT_ONCE)

    def make(
        self,
        place: DiskPlace,
        backing: str,
        size_gib: float | None,
        before: Callable[[], None],
    ) -> bytes | None:
        """The first bytes of the file that is there now, or None where it must be made alone.
        `before` is called when its turn has come, or that of another that takes it along. Raises
        what that raises, and HostLost.
        """

        def perform(places: Sequence[DiskPlace]) -> Mapping[DiskPlace, bytes | HostLost]:
            before()
            try:
                return self._run(places, backing, size_gib)
            except HostLost as error:
                return dict.fromkeys(places, error)
            except EngineError as error:
                log.info(
                    "overlays_not_made_together", host=str(self._ssh.address), error=str(error)
                )
                return {}

        kind = (place.pool_path, backing, size_gib)
        # One such command may be under way, and one take it along.
        wait_s = 2 * self._ssh.settings.call_timeout_s
        result = self._gathering.bring(kind, place, perform, wait_s)
        if isinstance(result, HostLost):
            raise result
        return result

    def _run(
        self, places: Sequence[DiskPlace], backing: str, size_gib: float | None
    ) -> dict[DiskPlace, bytes]:
        by_name = {f"{place.domain_id}/{place.disk_id}": place for place in places}
        pool_path = places[0].pool_path
        *command, _path = qemu_img.create_overlay("", backing, size_gib)
        done = self._ssh.run_locked(
            None,
            [
                *("sh", "-c", programs.MAKE_ALIKE, programs.CREATED_WITH),
                *(pool_path, self._installation, locks_folder(pool_path, self._installation)),
                *(backing, str(qemu_img.HEADER_BYTES)),
                " ".join(f"{name}/{secrets.token_hex(8)}" for name in by_name),
                *command,
            ],
            timeout_s=self._ssh.settings.call_timeout_s,
            label=" ".join(command),
        )
        names, _, heads = done.stdout.partition(b"\n")
        made = [name.rpartition("/")[0] for name in names.decode().split()]
        size = qemu_img.HEADER_BYTES
        if len(heads) != size * len(made):
            return {}  # a file is shorter than any of ours: whose it is, shows when made alone
        return {by_name[name]: heads[at * size :][:size] for at, name in enumerate(made)}
