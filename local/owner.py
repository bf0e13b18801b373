"""Whose the installation is: the user that owns the checkout, whom all but the hypervisor run as.

Root is needed for namespaces and QEMU alone. Database, engine and web pages run as whoever owns the
checkout (who may be root), own their files, and can do no more than that user. libvirt takes root's
special rights away from the ssh it starts, so even root must be able to reach the data folder as
its owner would; that is tried before anything is started.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIAL_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Owner:
    uid: int
    gid: int
    name: str
    home: str

    @staticmethod
    def of(folder: Path) -> Owner:
        uid = folder.stat().st_uid
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return Owner(uid, folder.stat().st_gid, str(uid), "/")
        return Owner(uid, entry.pw_gid, entry.pw_name, entry.pw_dir)

    def process_options(self) -> dict[str, Any]:
        """For subprocess.Popen: run as this user, if that is not who we are."""
        if self.uid == os.geteuid():
            return {}
        groups = os.getgrouplist(self.name, self.gid) if not self.name.isdigit() else [self.gid]
        return {"user": self.uid, "group": self.gid, "extra_groups": groups}

    def environment(self) -> dict[str, str]:
        if self.uid == os.geteuid():
            return {}
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def can_enter(self, folder: Path) -> bool:
        """Without any of root's special rights."""
        trial = [
            *("setpriv", "--reuid", str(self.uid), "--regid", str(self.gid), "--clear-groups"),
            *("--bounding-set", "-all", "--inh-caps", "-all", "test", "-x", str(folder)),
        ]
        done = subprocess.run(trial, timeout=TRIAL_TIMEOUT_S, stdin=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def give(self, places: Iterable[Path]) -> None:
        """Make this user the owner of files, and of folders with all in them; links stay."""
        for place in places:
            if place.exists():
                self._give_one(place)
            for folder, _, files in os.walk(place):
                for path in (Path(folder), *(Path(folder, name) for name in files)):
                    self._give_one(path)

    def _give_one(self, path: Path) -> None:
        if path.lstat().st_uid != self.uid:
            os.lchown(path, self.uid, self.gid)
