"""Where this copy of the product lives and listens: the kernel's settings and what is derived
from them.

`db/settings.py` reads the environment; here are the folders of the contract in docs/install.md,
and the environment the processes get. Two copies run side by side by giving them other values.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from db.settings import Settings
from local.owner import Owner

REPOSITORY = Path(__file__).resolve().parent.parent
HYPERVISOR_ID = "local"
FIRST_PASSWORD_VARIABLE = "ISARD_ADMIN_PASSWORD"  # noqa: S105 (the name of a variable)
DATA_VARIABLES = (
    *("ISARD_DATA", "ISARD_HOST", "ISARD_WEB_PORT", "ISARD_DB_PORT", "ISARD_SSH_PORT"),
    "ISARD_VIEWER_PORT",
)


@dataclass(frozen=True)
class LocalSettings:
    """One copy of the product on this machine."""

    kernel: Settings

    @property
    def data(self) -> Path:
        return self.kernel.data

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def images(self) -> Path:
        return self.data / "images"

    @property
    def marker(self) -> Path:
        """Says that the data folder is one of ours: only such a folder is ever purged."""
        return self.data / ".isardvdi"

    @property
    def first_password_file(self) -> Path:
        """Holds the administrator's first password until it has been shown."""
        return self.secrets / "first_admin_password"

    @property
    def host_key_file(self) -> Path:
        """The local hypervisor's public SSH host key, pinned in its row."""
        return self.data / "host" / "etc/isard/ssh/ssh_host_ed25519_key.pub"

    @property
    def owner(self) -> Owner:
        return Owner.of(REPOSITORY)

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.kernel.host in ("0.0.0.0", "::") else self.kernel.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.kernel.web_port}"

    def environment(self) -> dict[str, str]:
        """What every process is started with. The first password is not for them."""
        kernel = self.kernel
        ours = {
            "ISARD_DATA": str(self.data),
            "ISARD_HOST": kernel.host,
            "ISARD_DB_HOST": "127.0.0.1",
            "ISARD_DB_PORT": str(kernel.db_port),
            "ISARD_DB_PASSWORD": (self.secrets / "db_password").read_text().strip(),
            "ISARD_WEB_PORT": str(kernel.web_port),
            "ISARD_SSH_PORT": str(kernel.ssh_port),
            "ISARD_VIEWER_PORT": str(kernel.viewer_port),
            "PYTHONUNBUFFERED": "1",
        }
        kept = {key: value for key, value in os.environ.items() if key != FIRST_PASSWORD_VARIABLE}
        return {**kept, **self.owner.environment(), **ours}

    @staticmethod
    def from_environment() -> LocalSettings:
        """Raises db.errors.SettingsError naming the variable that is wrong."""
        data = os.environ.get("ISARD_DATA") or str(REPOSITORY / "data")
        folder = Path(data)
        absolute = folder if folder.is_absolute() else Path.cwd() / folder
        return LocalSettings(
            Settings.from_environment({**os.environ, "ISARD_DATA": str(absolute.resolve())})
        )
