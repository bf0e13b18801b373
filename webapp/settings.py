"""What only the web side needs to know, read once from the environment.

The kernel's settings (ports, data folder, database) are inside; the rest has one value here and a
variable only where two installations really differ. Made by `__main__` and the tests, handed to
`create_app`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db.errors import SettingsError
from db.settings import Settings
from db.urls import read_url

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class WebSettings:
    kernel: Settings
    trusted_proxies: int
    """How many reverse proxies stand in front and set X-Forwarded-*: 0 believes none of it."""
    viewer_path: str = ""
    """Where a reverse proxy in front takes viewers' websockets for every hypervisor, as
    `<path>/<hypervisor id>`; empty where browsers go straight to the hypervisors.
    """
    metrics_from: tuple[Network, ...] = ()
    """Addresses that may read /metrics without a token."""
    upload_url: str = ""
    """Where disk hosts reach this webapp to fetch what browsers have uploaded."""
    upload_max_bytes: int = 64 * 1024**3
    catalogue_ca: Path | None = None
    """Certificates of the authorities a catalogue's server may be vouched for by; None: the
    system's.
    """
    catalogue_http: bool = False
    """A catalogue may come unencrypted from this very machine."""
    body_max_bytes: int = 64 * 1024
    session_idle_s: int = 12 * 3600
    token_life_s: int = 30 * 24 * 3600
    ticket_life_s: int = 30

    @property
    def spool(self) -> Path:
        """What browsers have uploaded, until a disk host has fetched it."""
        return self.kernel.data / "uploads"

    @property
    def deliveries(self) -> Path:
        """What disk hosts have sent for browsers to save. Inside the spool: several webapps share
        both.
        """
        return self.spool / "out"

    @property
    def backups(self) -> Path:
        """The folder of backups."""
        return self.kernel.data / "backups"

    @property
    def session_key_path(self) -> Path:
        return self.kernel.data / "secrets" / "session.key"

    @property
    def ticket_keys_dir(self) -> Path:
        return self.kernel.data / "secrets" / "tickets"

    @property
    def cookie_name(self) -> str:
        """Cookies know no ports: two copies on one machine must not overwrite each other's."""
        return f"isard_session_{self.kernel.web_port}"

    @staticmethod
    def from_environment(environ: Mapping[str, str] | None = None) -> WebSettings:
        """Raises SettingsError naming the variable that is wrong."""
        env = os.environ if environ is None else environ
        kernel = Settings.from_environment(env)
        return WebSettings(
            kernel=kernel,
            trusted_proxies=_read_count(env, "ISARD_TRUSTED_PROXIES"),
            viewer_path=_read_path(env, "ISARD_VIEWER_PATH"),
            upload_url=_read_upload_url(env, kernel),
            catalogue_ca=_read_file(env, "ISARD_CATALOGUE_CA"),
            catalogue_http=_read_count(env, "ISARD_CATALOGUE_HTTP", 0, 1) == 1,
            upload_max_bytes=_read_count(env, "ISARD_UPLOAD_MAX_GIB", 64, 65536) * 1024**3,
            metrics_from=_read_networks(env, "ISARD_METRICS_FROM"),
        )


def _read_networks(env: Mapping[str, str], name: str) -> tuple[Network, ...]:
    words = re.split(r"[\s,]+", (env.get(name) or "").strip())
    try:
        return tuple(ipaddress.ip_network(word) for word in words if word)
    except ValueError as error:
        raise SettingsError(
            f"{name} must be addresses or networks such as 127.0.0.1 10.0.0.0/24: {error}."
        ) from error


def _read_count(env: Mapping[str, str], name: str, default: int = 0, most: int = 9) -> int:
    text = env.get(name) or str(default)
    if not text.isdigit() or int(text) > most:
        raise SettingsError(f"{name} must be a number between 0 and {most}, not {text!r}.")
    return int(text)


def _read_upload_url(env: Mapping[str, str], kernel: Settings) -> str:
    """By default the address we listen at: right where the disk hosts are on the same machine."""
    host = "127.0.0.1" if kernel.host in ("0.0.0.0", "::") else kernel.host  # noqa: S104
    default = f"http://{f'[{host}]' if ':' in host else host}:{kernel.web_port}"
    text = env.get("ISARD_UPLOAD_URL") or default
    try:
        found = read_url(text)
    except ValueError as error:
        raise SettingsError(f"ISARD_UPLOAD_URL: {error}.") from error
    if found.scheme not in ("http", "https") or found.query:
        raise SettingsError(f"ISARD_UPLOAD_URL must be like http://webapp:8080, not {text!r}.")
    return found.shown.rstrip("/")


def _read_file(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name)
    if not text:
        return None
    path = Path(text)
    if not path.is_file():
        raise SettingsError(f"{name}: there is no file {text}.")
    return path


def _read_path(env: Mapping[str, str], name: str) -> str:
    text = env.get(name) or ""
    if not re.fullmatch(r"(/[a-z0-9-]+)*", text):
        raise SettingsError(f"{name} must be a path such as /viewers, not {text!r}.")
    return text
