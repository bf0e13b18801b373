"""What a person asks of the local product: start, stop, status, logs, purge.

Each returns an exit code and says what it does in plain lines. They run in the foreground and
leave nothing behind but the supervisor that `start` detaches.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from rethinkdb.errors import ReqlError

from db.connection import Database, r
from db.errors import DatabaseUnavailable
from db.settings import Settings
from local import identity
from local.plan import processes
from local.prepare import CannotStart, check_ports, prepare
from local.settings import FIRST_PASSWORD_VARIABLE, HYPERVISOR_ID, REPOSITORY, LocalSettings
from local.supervisor import end, pid_file, write_progress

ONLINE_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 150.0
LOOK_EVERY_S = 0.2
HEALTH_TIMEOUT_S = 10.0
LOG_LINES = "40"
REMOVED = (
    "this machine was removed from the hypervisors and no other is online: add one on the page "
    "Hypervisors, or have this machine added again by make stop and make run"
)


def say(sentence: str) -> None:
    print(sentence, flush=True)


def start(settings: LocalSettings) -> int:
    if identity.find(pid_file(settings, "supervisor")) is not None:
        say("It runs already.")
        return wait_until_online(settings)
    prepare(settings, say)
    if not any(identity.find(pid_file(settings, p.name)) for p in processes(settings)):
        check_ports(settings)
    write_progress(settings, "starting")
    with (settings.logs / "local.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "local", "supervise"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return wait_until_online(settings, supervisor)


def wait_until_online(
    settings: LocalSettings, supervisor: subprocess.Popen[bytes] | None = None
) -> int:
    """Show what is being waited for until everything answers; then where to go."""
    deadline = time.monotonic() + ONLINE_TIMEOUT_S
    shown = ""
    while time.monotonic() < deadline:
        if has_ended(settings, supervisor):
            what = "The start failed" if supervisor else "It was stopped meanwhile, or failed"
            raise CannotStart(f"{what}; see {settings.logs / 'local.log'}. `make run` begins anew.")
        is_online, missing = health(settings)
        if is_online:
            say_welcome(settings)
            return 0
        line = waiting_line(settings, missing)
        if line and line != shown:
            shown = line
            say(f"  … {line}")
        time.sleep(LOOK_EVERY_S)
    say(f"Not everything is up after {ONLINE_TIMEOUT_S:.0f} seconds; it goes on. See: make logs")
    return 1


def has_ended(settings: LocalSettings, supervisor: subprocess.Popen[bytes] | None) -> bool:
    """Whether nobody is at the start any more: not ours nor, of two begun at once, the other's."""
    if supervisor is not None and supervisor.poll() is None:
        return False
    return identity.find(pid_file(settings, "supervisor")) is None


def waiting_line(settings: LocalSettings, missing: str) -> str:
    """What is being done now, or what is wrong; of the hypervisor, what the engine says of it."""
    step, problem = read_progress(settings)
    if problem or not (missing and step.startswith("waiting")):
        return problem or step
    return (missing == "hypervisor" and hypervisor_message(settings)) or f"waiting for: {missing}"


def hypervisor_message(settings: LocalSettings) -> str:
    """From its row; nothing where the database does not answer."""
    database = Database(Settings.from_environment(settings.environment()))
    row = r.table("hypervisors").get(HYPERVISOR_ID)
    message = r.branch(row.eq(None), REMOVED, row["observed"]["message"].default(""))
    try:
        return str(database.run(message) or "")
    except (DatabaseUnavailable, ReqlError):
        return ""
    finally:
        database.close()


def say_welcome(settings: LocalSettings) -> None:
    say(kvm_sentence(settings))
    say(f"\n  IsardVDI is up:  {settings.url}\n")
    file = settings.first_password_file
    if file.exists():
        password = file.read_text().strip()
        given = os.environ.get(FIRST_PASSWORD_VARIABLE) == password
        shown = f"as given in {FIRST_PASSWORD_VARIABLE}" if given else password
        say(f"  User: admin\n  Password: {shown}\n")
        say("  The password is not shown again; change it after logging in.")
        file.unlink()
    else:
        say(f"  User: admin (a new password: {reset_command(settings)})")
    say("  make stop · make logs · make help\n")


def reset_command(settings: LocalSettings) -> str:
    return f"make password{data_variable(settings)}"


def data_variable(settings: LocalSettings) -> str:
    return "" if settings.data == REPOSITORY / "data" else f" ISARD_DATA={settings.data}"


def kvm_sentence(settings: LocalSettings) -> str:
    try:
        kept = json.loads((settings.data / "host/etc/isard/hypervisor.json").read_text())
        return f"  {kept['kvm_reason']}"
    except (OSError, ValueError, KeyError):
        return ""


def health(settings: LocalSettings) -> tuple[bool, str]:
    """Whether all is up, and what is missing, in words."""
    try:
        with urllib.request.urlopen(f"{settings.url}/healthz", timeout=HEALTH_TIMEOUT_S) as answer:  # noqa: S310
            return answer.status == 200, ""
    except urllib.error.HTTPError as error:
        with error:
            return False, describe_missing(error.read(10_000))
    except (OSError, ValueError):
        return False, ""


def describe_missing(body: bytes) -> str:
    """From the body of a 503 of /healthz."""
    try:
        missing = json.loads(body).get("missing", [])
    except (ValueError, AttributeError):
        return ""
    return ", ".join(str(m) for m in missing) if isinstance(missing, list) else str(missing)


def read_progress(settings: LocalSettings) -> tuple[str, str]:
    try:
        kept = json.loads((settings.run / "progress.json").read_text())
        return str(kept["step"]), str(kept["problem"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def stop(settings: LocalSettings) -> int:
    supervisor = identity.find(pid_file(settings, "supervisor"))
    if supervisor is not None:
        say("Stopping; guests are asked to shut down first.")
        supervisor.send(signal.SIGTERM)
        deadline, shown = time.monotonic() + STOP_TIMEOUT_S, ""
        while not supervisor.wait(LOOK_EVERY_S) and time.monotonic() < deadline:
            step, _ = read_progress(settings)
            if step.startswith("stopping") and step != shown:
                shown = step
                say(f"  … {step}")
        supervisor.kill_group()
    was_left = stop_leftovers(settings)
    say("Stopped." if supervisor is not None or was_left else "Nothing was running.")
    return 0


def stop_leftovers(settings: LocalSettings) -> bool:
    """End what a killed supervisor left behind, in the same order. True if there was any."""
    was_left = False
    for process in reversed(processes(settings)):
        file = pid_file(settings, process.name)
        handle = identity.find(file)
        if handle is not None:
            was_left = True
            end(process, handle, file)
        file.unlink(missing_ok=True)
    return was_left


def status(settings: LocalSettings) -> int:
    """One line per process; exit code 0 if all is up."""
    names = ["supervisor", *(process.name for process in processes(settings))]
    for name in names:
        handle = identity.find(pid_file(settings, name))
        say(f"  {name:<11}{f'runs ({handle.identity.pid})' if handle else 'does not run'}")
    is_online, missing = health(settings)
    say(
        f"  {settings.url} "
        + ("is up" if is_online else f"is not up{f': {missing}' if missing else ''}")
    )
    return 0 if is_online else 1


def logs(settings: LocalSettings) -> int:
    files = sorted(str(file) for file in settings.logs.glob("*.log"))
    if not files:
        say("There are no logs yet.")
        return 0
    try:
        return subprocess.call(["tail", "-n", LOG_LINES, "-F", *files])
    except KeyboardInterrupt:
        return 0


def password(settings: LocalSettings) -> int:
    """Ask for a new password of the administrator."""
    if identity.find(pid_file(settings, "db")) is None:
        say("The database does not run; start it with: make run")
        return 1
    command = [sys.executable, "-m", "webapp", "user", "password", "admin"]
    return subprocess.call(
        command, cwd=REPOSITORY, env=settings.environment(), **settings.owner.process_options()
    )


def purge(settings: LocalSettings) -> int:
    """Remove the data folder, after asking; the machine's packages and this checkout stay."""
    if not settings.data.exists():
        say(f"There is no {settings.data}.")
        return 0
    if not settings.marker.exists() or is_precious(settings.data):
        say(f"{settings.data} is not a data folder of IsardVDI; nothing was removed.")
        return 1
    if not is_sure(settings.data):
        say("Nothing was removed.")
        return 1
    stop(settings)
    shutil.rmtree(settings.data)
    say(f"Removed {settings.data}.")
    return 0


def is_precious(folder: Path) -> bool:
    """A folder that holds this program or a home is never removed, whatever marker it bears."""
    return any(place.is_relative_to(folder) for place in (REPOSITORY, Path.home(), Path("/usr")))


def is_sure(folder: Path) -> bool:
    if os.environ.get("YES") == "1":
        return True
    if not sys.stdin.isatty():
        say("Not asked at a terminal; set YES=1 to remove it without asking.")
        return False
    say(f"This removes {folder} with all desktops, templates, users and keys in it.")
    return input("Type yes to go on: ").strip() == "yes"
