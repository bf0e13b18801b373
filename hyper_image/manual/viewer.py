"""The viewer proxy (the guide's websocket server) as a service of systemd.

The same programs as in the container, copied to /usr/local/lib/isardvdi beside a Python
environment with the two packages they need. The service starts as root to open its folders and
then runs as a user without rights. It lets nobody in before the engine has brought its ticket keys.
"""

from __future__ import annotations

import pwd
import time
import urllib.error
import urllib.request
from pathlib import Path

from hyper_image import accounts
from hyper_image.asking import ask
from hyper_image.manual import files
from hyper_image.manual.finding import (
    Change,
    Finding,
    Options,
    do,
    has_systemd,
    missing,
    ok,
    restart_if_running,
)
from hyper_image.manual.programs import find, install

HOME = Path("/usr/local/lib/isardvdi")
OURS = Path(__file__).resolve().parents[1]
PYTHON = HOME / "venv" / "bin" / "python"
WITH_DEPENDENCIES = "jwcrypto==1.6.1"
ALONE = "websockify==0.13.0"
"""What it depends on is for plugins that we do not use."""
UNIT_NAME = "isard-viewer.service"
UNIT = Path("/etc/systemd/system") / UNIT_NAME
ENABLED = UNIT.parent / "multi-user.target.wants" / UNIT_NAME
ANSWER_TIMEOUT_S = 5.0
START_TIMEOUT_S = 15.0
PIP_TIMEOUT_S = 600.0

UNIT_TEXT = f"""\
[Unit]
Description=IsardVDI viewer proxy
Wants=network-online.target
After=network-online.target

[Service]
Environment=PYTHONPATH={HOME} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
Environment="PYTHONWARNINGS=ignore:no 'numpy' module"
ExecStart={PYTHON} -m hyper_image viewer-proxy --hypervisor %H --host 0.0.0.0 --port {{port}}
Restart=always
RestartSec=2
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=full
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE

[Install]
WantedBy=multi-user.target
"""


def look_at_viewer(options: Options) -> list[Finding]:
    return [
        look_at_programs(),
        look_at_packages(options),
        look_at_user(),
        look_at_unit(options.viewer_port),
    ]


def look_at_programs() -> Finding:
    if all(is_same(path, HOME / OURS.name / path.name) for path in OURS.glob("*.py")):
        return ok(f"the viewer proxy in {HOME}")
    todo = f"copy {OURS}/*.py to {HOME / OURS.name}"
    return missing(f"the viewer proxy in {HOME}", todo, Change(todo, copy_programs))


def is_same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def copy_programs() -> None:
    folder = HOME / OURS.name
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path in sorted(OURS.glob("*.py")):
        if not is_same(path, folder / path.name):
            unfinished = folder / f".new-{path.name}"
            unfinished.write_bytes(path.read_bytes())
            unfinished.chmod(0o644)
            unfinished.replace(folder / path.name)
    restart_if_running(UNIT_NAME)


def look_at_packages(options: Options) -> Finding:
    if ask(str(PYTHON), "-c", "import websockify.websocketproxy, jwcrypto.jws").returncode == 0:
        return ok("its Python packages")
    todo = f"python3 -m venv {HOME}/venv, and there pip install {WITH_DEPENDENCIES} {ALONE}"
    change = Change(todo, make_environment) if options.packages else None
    return missing("the viewer proxy's Python packages", todo, change)


def make_environment() -> None:
    if ask("python3", "-c", "import ensurepip").returncode != 0 and find("apt-get"):
        install("python3-venv")
    do("python3", "-m", "venv", str(HOME / "venv"), timeout_s=PIP_TIMEOUT_S)
    pip = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    do(*pip, WITH_DEPENDENCIES, timeout_s=PIP_TIMEOUT_S)
    do(*pip, "--no-deps", ALONE, timeout_s=PIP_TIMEOUT_S)


def look_at_user() -> Finding:
    name = accounts.VIEWER_USER
    try:
        pwd.getpwnam(name)
    except KeyError:
        argv = ["useradd", "--system", "--user-group", "--no-create-home"]
        argv += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name]
        return missing(
            f"the user {name}", " ".join(argv), Change(" ".join(argv), lambda: do(*argv))
        )
    return ok(f"the user {name}")


def look_at_unit(port: int) -> Finding:
    if not UNIT.parent.is_dir() or find("systemctl") is None:
        command = (
            f"{PYTHON} -m hyper_image viewer-proxy --hypervisor NAME --host 0.0.0.0 --port {port}"
        )
        if answers(port):
            return ok(f"the viewer proxy answers at port {port}")
        return missing(
            "the viewer proxy does not run, and there is no systemd", f"keep running: {command}"
        )
    text = UNIT_TEXT.format(port=port)
    is_in_place = files.read(UNIT) == text and ENABLED.is_symlink()
    if is_in_place and answers(port):
        return ok(f"{UNIT_NAME}: the viewer proxy answers at port {port}")
    if is_in_place and not has_systemd():
        return missing("the viewer proxy does not answer", "it starts with the machine")
    todo = f"systemctl enable --now {UNIT_NAME}"
    change = Change(f"{UNIT} is written; {todo}", lambda: start(port))
    what = f"the viewer proxy does not answer at port {port}" if is_in_place else f"{UNIT_NAME}"
    return missing(what, f"journalctl -u {UNIT_NAME} says why" if is_in_place else todo, change)


def start(port: int) -> None:
    text = UNIT_TEXT.format(port=port)
    if files.read(UNIT) != text:
        files.replace(UNIT, text.encode(), 0o644)
    if has_systemd():
        do("systemctl", "daemon-reload")
    do("systemctl", "enable", UNIT_NAME)
    if has_systemd():
        do("systemctl", "restart", UNIT_NAME)
        wait_until_it_answers(port)


def wait_until_it_answers(port: int) -> None:
    """systemd calls it started before it listens. One that never does is told by the next look."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(port) and time.monotonic() < deadline:
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/healthz", timeout=ANSWER_TIMEOUT_S
        ) as answer:
            return bool(answer.read(16) == b"ok\n")
    except (urllib.error.URLError, OSError, ValueError):
        return False
