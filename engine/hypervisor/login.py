"""Opens an SSH transport to a host whose key is pinned, every step within the deadline.

Resolving, connecting, greeting, key exchange and login can each hang on their own; each has what is
left of the time. The key is compared before anything of ours is sent; a host with
another key never sees a login. `read_offered_host_key` is for the page where a person accepts a
key. Called by engine.hypervisor.ssh and checks.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import socket
import time
from pathlib import Path

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from db.states import Reason
from engine.errors import HostKeyRefused, HostLost, Terminal, Transient
from engine.hypervisor.deadline import LateCall, call_within
from engine.hypervisor.host import HostAddress, is_same_key

# Its stack traces of what a host did wrong say nothing that our errors do not.
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)

TRANSPORT_KEEPALIVE_S = 5
LINK_DEAD_MS = 15_000
SHUT_OUT = (
    "If it is one: a newer sshd lets nobody in for a minute from where logins have failed "
    "(PerSourcePenalties)."
)


def open_transport(
    address: HostAddress, key_file: Path, timeout_s: float, *, password: str = ""
) -> paramiko.Transport:
    """A logged-in transport. With a `password` the host gets it only where our key is not let in.
    Raises HostLost, HostKeyRefused, Transient(LoginRefused) or Terminal (PasswordRefused, or our
    own key).
    """
    key = read_private_key(key_file)
    deadline = time.monotonic() + timeout_s
    transport, offered = _greet(
        address, timeout_s, prefer=address.host_key.split()[0] if address.host_key else None
    )
    try:
        check_key(address, offered)
        try:
            _log_in(transport, address, key, max(0.5, deadline - time.monotonic()))
        except Transient as refusal:
            if not password or refusal.reason != Reason.LOGIN_REFUSED:
                raise
            left_s = max(0.5, deadline - time.monotonic())
            _log_in_by_password(transport, address, password, left_s)
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(TRANSPORT_KEEPALIVE_S)
    return transport


def read_offered_host_key(
    hostname: str, port: int, timeout_s: float, key_type: str | None = None
) -> str:
    """The key a host shows now, as `ssh-ed25519 AAAA…`; of that type, if it has one. Nothing else
    is sent to it. Raises HostLost.
    """
    address = HostAddress("", hostname, port, "", None)
    transport, offered = _greet(address, timeout_s, prefer=key_type)
    transport.close()
    return offered


def resolve(hostname: str, port: int, timeout_s: float) -> list[str]:
    """The host's addresses. Raises HostLost (the resolver has no deadline of its own)."""
    try:
        found = call_within(
            timeout_s,
            lambda: socket.getaddrinfo(hostname, port, type=socket.SOCK_STREAM),
            name=f"resolve-{hostname}",
        )
    except socket.gaierror as error:
        raise HostLost(
            Reason.HOST_UNREACHABLE,
            f"The name {hostname} cannot be resolved: {error.strerror or error}.",
            step="resolves",
        ) from error
    except LateCall:
        raise HostLost(
            Reason.HOST_UNREACHABLE,
            f"The name {hostname} was not resolved within {timeout_s:g} seconds.",
            step="resolves",
        ) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect(hostname: str, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection to the first address that answers. Raises HostLost."""
    deadline = time.monotonic() + timeout_s
    problem: OSError | None = None
    for target in resolve(hostname, port, timeout_s):
        try:
            return socket.create_connection(
                (target, port), timeout=max(0.1, deadline - time.monotonic())
            )
        except OSError as error:
            problem = error
    why = "no answer" if isinstance(problem, TimeoutError) else str(problem)
    raise HostLost(
        Reason.HOST_UNREACHABLE,
        f"Nothing answers at {hostname} port {port}: {why}.",
        step="port",
        answer=str(problem),
    )


def describe_key(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def describe_fingerprint(key: str) -> str:
    """As ssh-keygen -l shows it, for comparing by eye."""
    return f"{key.split()[0]} {fingerprint_of(key)}"


def fingerprint_of(key: str) -> str:
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def authorized_keys_line(key_file: Path) -> str:
    """What lets the engine in where it stands in a user's ~/.ssh/authorized_keys."""
    return f"{describe_key(read_private_key(key_file))} isardvdi engine"


def read_private_key(key_file: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(key_file)
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise Terminal(
            Reason.LOGIN_REFUSED,
            f"The engine's own SSH key {key_file} cannot be read. "
            "Make it again and enrol the hosts.",
            step="login",
            answer=str(error),
        ) from error


def check_key(address: HostAddress, offered: str) -> None:
    """Raises HostKeyRefused unless this is the accepted key."""
    if not address.host_key:
        raise HostKeyRefused(
            Reason.HOST_KEY_UNKNOWN,
            f"{address} has not been trusted yet. Compare its key with the one on the host's "
            "own screen and accept it.",
            offered=offered,
        )
    if not is_same_key(address.host_key, offered):
        raise HostKeyRefused(
            Reason.HOST_KEY_CHANGED,
            f"{address} shows another key than the one that was accepted. If the host was made "
            "anew, accept the new key; if not, somebody may be in between.",
            offered=offered,
        )


def _greet(
    address: HostAddress, timeout_s: float, *, prefer: str | None
) -> tuple[paramiko.Transport, str]:
    """Connects and exchanges keys: a transport that is not logged in, and the key it showed.

    A host may have keys of several types: without asking for the type of the accepted one
    (`prefer`) it would look changed.
    """
    deadline = time.monotonic() + timeout_s
    raw = connect(address.hostname, address.port, timeout_s)
    transport: paramiko.Transport | None = None
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The keepalives give the kernel something to miss the acknowledgement of: a cut cable ends
        # the connection, however long the command that waits on it may take.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LINK_DEAD_MS)
        transport = paramiko.Transport(raw)
        remaining_s = max(0.5, deadline - time.monotonic())
        transport.banner_timeout = remaining_s
        transport.handshake_timeout = remaining_s
        if prefer:
            _prefer_key_type(transport, prefer)
        transport.start_client(timeout=remaining_s)
        if not transport.initial_kex_done:  # it returns silently when its time is over
            raise paramiko.SSHException("it did not greet in time")
        return transport, describe_key(transport.get_remote_server_key())
    except (paramiko.SSHException, OSError, EOFError) as error:
        if transport is not None:
            transport.close()
        with contextlib.suppress(OSError):
            raw.close()
        if address.host_key and isinstance(error, IncompatiblePeer):
            # It no longer has a key of the accepted type at all.
            offered = read_offered_host_key(address.hostname, address.port, timeout_s)
            check_key(address, offered)
        what = f"{error or type(error).__name__}".rstrip(".")
        raise HostLost(
            Reason.HOST_UNREACHABLE,
            f"{address} answers, but not as an SSH server: {what}. {SHUT_OUT}",
            step="port",
            answer=str(error),
        ) from error


def _prefer_key_type(transport: paramiko.Transport, key_type: str) -> None:
    options = transport.get_security_options()
    wanted = {"rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"} if key_type == "ssh-rsa" else {key_type}
    types = [name for name in options.key_types if name in wanted]
    if types:
        options.key_types = types


def _log_in(
    transport: paramiko.Transport, address: HostAddress, key: paramiko.PKey, timeout_s: float
) -> None:
    transport.auth_timeout = timeout_s
    try:
        transport.auth_publickey(address.user, key)
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower() or not transport.is_active():
            raise _lost_in_login(address, error) from error
        raise Transient(
            Reason.LOGIN_REFUSED,
            f"{address} does not let the engine in as {address.user}: its key is not among the "
            "authorised ones. Add the engine's public key to the host.",
            step="login",
            answer=str(error),
            retry_after_s=30.0,
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _lost_in_login(address, error) from error


def _log_in_by_password(
    transport: paramiko.Transport, address: HostAddress, password: str, timeout_s: float
) -> None:
    """By the method `password`, or where a host has only that by answering its one question."""
    transport.auth_timeout = timeout_s
    try:
        more = transport.auth_password(address.user, password)
    except paramiko.BadAuthenticationType as error:
        raise _password_refused(
            f"{address} lets nobody in as {address.user} by a password (its sshd says: "
            f"{', '.join(error.allowed_types)}). Allow PasswordAuthentication and PermitRootLogin "
            "there for a moment, or add the engine's public key by hand."
        ) from None
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower() or not transport.is_active():
            raise _lost_in_login(address, error) from None
        raise _password_refused(
            f"{address} does not accept this password for {address.user}. Check user and password, "
            "and that its sshd lets this user in by password (PermitRootLogin). On a hypervisor "
            "container set a new one with /reset-hyper.sh."
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _lost_in_login(address, error) from None
    if more:
        raise _password_refused(
            f"{address} wants more than a password of {address.user}: {', '.join(more)}. Add the "
            "engine's public key by hand."
        )


def _password_refused(message: str) -> Terminal:
    return Terminal(Reason.PASSWORD_REFUSED, message, step="password")


def _lost_in_login(address: HostAddress, error: Exception) -> HostLost:
    return HostLost(
        Reason.HOST_UNREACHABLE,
        f"The connection to {address} broke while logging in: {error}.",
        step="login",
        answer=str(error),
    )
