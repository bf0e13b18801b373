"""New host keys and a new root password for a host in a container: what `/reset-hyper.sh` does.

Everything is made first and put in place afterwards, so a failure leaves the old keys and the old
password. Guests and sessions already open go on. Whoever has pinned the old host key refuses the
new one until a person accepts it, which is the point. The password comes by the environment because
the guide's command gives it so.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from hyper_image import configuration, root_password
from hyper_image.container import CannotRun, read_settings
from hyper_image.services import signal_if_there

SSHD_PID = configuration.RUN / "sshd.pid"
COMMAND_TIMEOUT_S = 15.0
SSHD_DEADLINE_S = 15.0
LOOK_EVERY_S = 0.1

USAGE = """\
Sets a new root password and makes new SSH host keys for this hypervisor.

  docker exec -e PASSWORD=<NEW_ROOT_PASSWORD> CONTAINER bash -c '/reset-hyper.sh'

PASSWORD is needed: 8 to 256 characters. Nothing was changed."""


def main() -> int:
    password = os.environ.pop("PASSWORD", "")
    if not password:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        root_password.check(password)
        fingerprint = reset(password)
    except (root_password.BadPassword, CannotRun) as problem:
        print(problem, file=sys.stderr)
        return 1
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"The reset failed: {problem}", file=sys.stderr)
        return 1
    print(f"New root password set. New host key: {fingerprint}")
    print("Now run /add-hypervisor.sh in the isard-app container with the same password.")
    return 0


def reset(password: str) -> str:
    """Returns the fingerprint of the new host key."""
    settings = read_settings(os.environ)
    if not SSHD_PID.exists():
        raise CannotRun("sshd is not running in this container: start it, then try again.")
    hashed = root_password.hash_of(password)
    new_key = configuration.HOST_KEY.with_name("next_host_key")
    configuration.make_key(new_key, settings.id)
    public, new_public = (
        path.with_name(path.name + ".pub") for path in (configuration.HOST_KEY, new_key)
    )
    root_password.keep(hashed)
    root_password.apply()
    new_public.replace(public)
    new_key.replace(configuration.HOST_KEY)
    configuration.write_ssh(settings)
    restart_sshd(settings.ssh_port)
    return fingerprint_of_host_key()


def restart_sshd(port: int) -> None:
    """SIGHUP makes sshd read keys and configuration anew; sessions stay. Waits for the new key."""
    signal_if_there(int(SSHD_PID.read_text()), signal.SIGHUP)
    expected = (
        configuration.HOST_KEY.with_name(configuration.HOST_KEY.name + ".pub")
        .read_text()
        .split()[1]
    )
    deadline = time.monotonic() + SSHD_DEADLINE_S
    while time.monotonic() < deadline:
        if expected in offered_keys(port):
            return
        time.sleep(LOOK_EVERY_S)
    raise CannotRun("sshd does not answer with the new key; restart the container.")


def offered_keys(port: int) -> str:
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", port)) != 0:
            return ""
    return subprocess.run(
        ["ssh-keyscan", "-T", "3", "-t", "ed25519", "-p", str(port), "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    ).stdout


def fingerprint_of_host_key() -> str:
    line = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(configuration.HOST_KEY)],
        capture_output=True,
        text=True,
        check=True,
        timeout=COMMAND_TIMEOUT_S,
    ).stdout
    return line.split()[1]


if __name__ == "__main__":
    sys.exit(main())
