"""From the host's name to a login, as the engine will do it."""

from __future__ import annotations

from db.states import Reason
from engine.errors import EngineError, Transient
from engine.hypervisor.checks.visit import BOTH, Check, Finding, Visit, failed, passed
from engine.hypervisor.host import is_same_key
from engine.hypervisor.login import (
    authorized_keys_line,
    connect,
    describe_fingerprint,
    read_offered_host_key,
    resolve,
)
from engine.hypervisor.profile import read_profile

CLOCK_TOLERANCE_S = 5.0

ACCEPT_ANEW = (
    "If the host was made anew, compare the fingerprint on its own screen and accept "
    "the new key. If not, find out who answers in its place."
)


def check_resolves(visit: Visit) -> Finding:
    address = visit.address
    found = resolve(address.hostname, address.port, visit.settings.connect_timeout_s)
    return passed(f"{address.hostname} is {', '.join(found)}.")


def check_port(visit: Visit) -> Finding:
    address = visit.address
    connect(address.hostname, address.port, visit.settings.connect_timeout_s).close()
    return passed(f"Something answers at port {address.port}.")


def check_host_key(visit: Visit) -> Finding:
    address = visit.address
    offered = read_offered_host_key(
        address.hostname, address.port, visit.settings.connect_timeout_s
    )
    fingerprint = describe_fingerprint(offered)
    if not address.host_key:
        return failed(
            f"Its key has not been accepted yet: {fingerprint}.",
            "Compare the fingerprint with the one on the host's own screen "
            "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and accept it.",
        )
    if not is_same_key(address.host_key, offered):
        # It may have keys of several types: login asks for the accepted one's and decides.
        try:
            visit.ssh.run(["true"], timeout_s=visit.settings.connect_timeout_s)
        except EngineError as error:
            return failed(f"{error.message} It is now {fingerprint}.", ACCEPT_ANEW)
    return passed("It shows the accepted key.")


def check_login(visit: Visit) -> Finding:
    try:
        visit.profile = read_profile(visit.ssh)
    except Transient as error:
        if error.reason != Reason.LOGIN_REFUSED:
            raise
        line = authorized_keys_line(visit.settings.ssh_key)
        return failed(
            error.message,
            "Enrol it with a password, or add this line to ~/.ssh/authorized_keys of "
            f"{visit.address.user} on the host: {line}",
        )
    return passed(f"The engine can log in as {visit.address.user}.")


def check_clock(visit: Visit) -> Finding:
    off_s = visit.profile.clock_ahead_s
    if abs(off_s) > CLOCK_TOLERANCE_S:
        return failed(
            f"Its clock is {abs(off_s):.0f} seconds {'ahead' if off_s > 0 else 'behind'}.",
            "Set the clocks of the host and of this machine by NTP (timedatectl set-ntp true): "
            "viewer tickets are valid for seconds.",
        )
    return passed(f"Its clock agrees within {CLOCK_TOLERANCE_S:g} seconds.")


CHECKS = (
    Check(
        "resolves",
        "Name",
        BOTH,
        (),
        check_resolves,
        "Correct the host's name, or give its address instead.",
    ),
    Check(
        "port",
        "SSH port",
        BOTH,
        ("resolves",),
        check_port,
        "Start sshd on the host, open the port in its firewall, and check the port number.",
    ),
    Check("host_key", "Host key", BOTH, ("port",), check_host_key, ACCEPT_ANEW),
    Check(
        "login",
        "Login",
        BOTH,
        ("host_key",),
        check_login,
        "See that sshd on the host runs well, and that the user's shell is an ordinary one.",
    ),
    Check("clock", "Clock", BOTH, ("login",), check_clock, only_warns=True),
)
