"""Gets the engine access to a host, once, with a password: what ssh-copy-id does, and what viewers
in browsers need.

The host's key is judged before anything else: the accepted one, or the one whose fingerprint was
given, or whatever is shown where the order says so. Then we log in (by our own key where that is
let in already), and nothing is changed on a host that lacks what it is to be used for. Programs are
constants, run by `sh`; what they get are arguments. Each step looks first whether it was done, so
an enrolment cut anywhere is simply done again. Called by engine/reconcilers/enrolment.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from db.states import Reason
from engine.errors import CommandFailed, HostKeyRefused, HostLost, Terminal, Transient
from engine.hypervisor.enrolment_key import Order
from engine.hypervisor.host import HostAddress
from engine.hypervisor.login import (
    authorized_keys_line,
    fingerprint_of,
    open_transport,
    read_offered_host_key,
)
from engine.hypervisor.ssh import SshSession
from engine.hypervisor.ticket_keys import put_keys
from engine.settings import EngineSettings

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
"""Whose fingerprint may have been given, in the order in which they are asked for."""

FIND_LIBVIRT = """
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
for run in /run /var/run; do
  for name in libvirt-sock virtqemud-sock; do
    [ -S "$run/libvirt/$name" ] && echo running && exit
  done
done
for name in libvirtd virtqemud; do
  command -v "$name" >/dev/null && echo stopped && exit
done
echo missing
"""
AUTHORIZE = r"""
set -eu
umask 077
cd
mkdir -p .ssh
chmod 700 .ssh
file=.ssh/authorized_keys
[ -e "$file" ] || : >"$file"
chmod 600 "$file"
if ! grep -v '^[[:space:]]*#' "$file" | grep -qF -- "$2"; then
  [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
  printf '%s\n' "$1" >>"$file"
fi
if command -v restorecon >/dev/null; then restorecon -R .ssh || true; fi
"""
"""$1: the whole line, $2: the key in it."""


@dataclass(frozen=True)
class Purpose:
    """What the host is to be used for, and the public keys of viewer tickets."""

    runs_desktops: bool
    ticket_keys: Mapping[str, str]


@dataclass(frozen=True)
class Trusted:
    """A host key and why it is trusted: accepted, fingerprint or first_use."""

    host_key: str
    why: str

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.host_key)


@dataclass(frozen=True)
class Enrolled:
    trusted: Trusted
    message: str


def find_trusted_key(order: Order, accepted: str | None, timeout_s: float) -> Trusted:
    """The key the host is to show. Raises HostLost, HostKeyRefused where a person must decide (then
    the host has been sent nothing), and Terminal(FingerprintDiffers).
    """
    if accepted:
        _check_accepted(order, accepted)
        return Trusted(accepted, "accepted")
    if order.fingerprint is None:
        offered = read_offered_host_key(order.hostname, order.port, timeout_s)
        if order.trust == "first_use":
            return Trusted(offered, "first_use")
        raise HostKeyRefused(
            Reason.HOST_KEY_UNKNOWN,
            f"{order.hostname} shows the key {fingerprint_of(offered)}. Compare it with the one on "
            "the host's own screen and accept it.",
            offered=offered,
        )
    shown = ""
    for offered in _all_keys(order, timeout_s):
        if fingerprint_of(offered) == order.fingerprint:
            return Trusted(offered, "fingerprint")
        shown = shown or fingerprint_of(offered)
    raise _fingerprint_differs(order, shown)


def enroll(
    order: Order,
    trusted: Trusted,
    purpose: Purpose,
    settings: EngineSettings,
    say: Callable[[str], None],
) -> Enrolled:
    """Log in, let our key in, prepare viewers, log in by key. `say`: what is being done now, for
    the page. Raises EngineErrors whose messages are for a person.
    """
    host_key = trusted.host_key
    address = HostAddress(order.hypervisor, order.hostname, order.port, order.user, host_key)
    notes: list[str] = []
    say(f"Logging in to {address} as {order.user}.")
    session = SshSession(address, settings, password=order.password)
    try:
        if purpose.runs_desktops:
            _require_libvirt(session)
            notes.append("libvirt runs there.")
        say("Installing the engine's key.")
        authorize(session)
        if purpose.runs_desktops:
            notes += _prepare_viewers(session, purpose.ticket_keys)
    finally:
        session.close()
    say("Logging in with the key alone.")
    try:
        open_transport(address, settings.ssh_key, settings.connect_timeout_s).close()
    except Transient as error:
        if isinstance(error, HostLost):
            raise
        raise _key_not_let_in(address, error) from error
    return Enrolled(trusted, " ".join([f"The engine may log in as {order.user}.", *notes]))


def _all_keys(order: Order, timeout_s: float) -> Iterator[str]:
    """What the host shows by itself, then its keys of each type."""
    yield read_offered_host_key(order.hostname, order.port, timeout_s)
    for key_type in KEY_TYPES:
        with contextlib.suppress(HostLost):  # it has none of this type
            yield read_offered_host_key(order.hostname, order.port, timeout_s, key_type)


def _check_accepted(order: Order, accepted: str) -> None:
    """A fingerprint given besides an accepted key must be that key's."""
    if order.fingerprint is not None and fingerprint_of(accepted) != order.fingerprint:
        raise _fingerprint_differs(order, fingerprint_of(accepted))


def _fingerprint_differs(order: Order, found: str) -> Terminal:
    return Terminal(
        Reason.FINGERPRINT_DIFFERS,
        f"The key of {order.hostname} is {found}, not the one that was given. If you copied the "
        "fingerprint from the host itself, somebody may be in between: the password was not sent.",
        step="host_key",
    )


def _require_libvirt(session: SshSession) -> None:
    done = session.run(
        ["sh", "-c", FIND_LIBVIRT, "isard"],
        timeout_s=session.settings.call_timeout_s,
        label="command -v libvirtd",
    )
    found = done.text.strip()
    if found == "running":
        return
    lacking = "is installed but does not run" if found == "stopped" else "is not installed"
    raise Terminal(
        Reason.NO_LIBVIRT,
        f"libvirt {lacking} on {session.address}, so it cannot run desktops. Install and start it "
        "(systemctl enable --now libvirtd), or add the host for disk operations alone. Nothing was "
        "changed there.",
        step="libvirt",
    )


def authorize(session: SshSession) -> None:
    """Let our key in where it is not yet. Raises EngineErrors."""
    line = authorized_keys_line(session.settings.ssh_key)
    try:
        session.run(
            ["sh", "-c", AUTHORIZE, "isard", line, line.split()[1]],
            timeout_s=session.settings.call_timeout_s,
            label="add to ~/.ssh/authorized_keys",
        )
    except CommandFailed as error:
        raise Terminal(
            Reason.ENROLMENT_FAILED,
            f"The engine's key cannot be put into ~/.ssh/authorized_keys of {session.address.user} "
            f"on {session.address}: {error.answer or error.message}",
            step="authorize",
            answer=error.answer,
        ) from error


def _prepare_viewers(session: SshSession, keys: Mapping[str, str]) -> list[str]:
    """Without them desktops run, but no browser sees their screens: said, not refused."""
    if not keys:
        return ["There are no keys of viewer tickets yet: enrol it again once the web side runs."]
    why = put_keys(session, keys, enrols=True)
    if why is None:
        return ["Its viewer proxy knows this installation's keys."]
    return [
        f"The keys of viewer tickets could not be put into /etc/isard/tickets ({why}): let "
        f"{session.address.user} use sudo, or do it by hand."
    ]


def _key_not_let_in(address: HostAddress, error: Exception) -> Terminal:
    return Terminal(
        Reason.LOGIN_REFUSED,
        f"The key is in ~/.ssh/authorized_keys, but {address} does not let it in. Its sshd may "
        "read another file (AuthorizedKeysFile), or find the home folder open to others "
        "(chmod go-w ~).",
        step="login",
        answer=str(error),
    )
