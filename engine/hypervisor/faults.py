"""What a libvirt error means: is the connection gone, and can waiting help?

libvirt has numbers for some errors and only a sentence for others; both are looked up in tables, in
order. Called by engine.hypervisor.connection, which alone sees libvirt's exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import libvirt

from db.states import Reason
from engine.errors import EngineError, Terminal, Transient


@dataclass(frozen=True)
class Meaning:
    """`words`, `also`: any of each in libvirt's text (lower case); none for "whatever the text"."""

    codes: frozenset[int]
    words: tuple[str, ...]
    kind: type[Transient] | type[Terminal]
    reason: Reason
    message: str
    also: tuple[str, ...] = ()


ANY = frozenset[int]()

OPENING: tuple[Meaning, ...] = (
    Meaning(
        ANY,
        ("permission denied (", "permission denied, please try again"),
        Transient,
        Reason.LOGIN_REFUSED,
        "{host} does not let the engine in: its key is not among the authorised ones. "
        "Add the engine's public key to the host.",
    ),
    Meaning(
        ANY,
        ("failed to connect socket to", "libvirt-sock"),
        Transient,
        Reason.HOST_UNREACHABLE,
        "{host} can be logged in to, but libvirt does not run there. "
        "Start libvirtd (or virtqemud).",
    ),
    Meaning(
        ANY,
        ("virt-ssh-helper", "nc: command not found", "nc: not found"),
        Terminal,
        Reason.HOST_UNREACHABLE,
        "{host} has no libvirt: neither virt-ssh-helper nor nc was found. "
        "Install the libvirt daemon.",
    ),
    Meaning(
        ANY,
        ("cannot run", "no such file or directory"),
        Terminal,
        Reason.HOST_UNREACHABLE,
        "The engine's own machine has no ssh program. Install openssh-client.",
    ),
)

DISK_WORDS = ("cannot access storage file", "could not open", "cannot access backing file")

CREATING: tuple[Meaning, ...] = (
    Meaning(
        ANY,
        (
            'failed to get "write" lock',
            'failed to get "consistent read" lock',
            "failed to get shared",
        ),
        Transient,
        Reason.IN_USE,
        "A disk of this desktop is in use by another process on {host}.",
    ),
    Meaning(
        ANY,
        ("cannot allocate memory", "cannot set up guest memory", "unable to map backing store"),
        Transient,
        Reason.NO_CAPACITY,
        "{host} has not enough free memory for this desktop.",
    ),
    Meaning(
        ANY,
        DISK_WORDS,
        Terminal,
        Reason.DISK_MISSING,
        "A disk of this desktop, or one it is based on, is not there on {host}.",
        also=("no such file or directory",),
    ),
    Meaning(
        ANY,
        DISK_WORDS,
        Terminal,
        Reason.START_FAILED,
        "QEMU on {host} may not open a disk of this desktop. Let it pass through the storage's "
        "folders (chmod o+x).",
        also=("permission denied",),
    ),
    Meaning(
        frozenset(
            {
                libvirt.VIR_ERR_XML_ERROR,
                libvirt.VIR_ERR_XML_DETAIL,
                libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
                libvirt.VIR_ERR_XML_INVALID_SCHEMA,
                libvirt.VIR_ERR_NO_SUPPORT,
            }
        ),
        (),
        Terminal,
        Reason.START_FAILED,
        "{host} cannot run a desktop with this hardware.",
    ),
)

CONNECTION_CODES = frozenset(
    {
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_NO_CONNECT,
    }
)
CONNECTION_WORDS = (
    "client socket is closed",
    "connection closed",
    "keepalive timeout",
    "end of file while reading",
    "cannot recv data",
    "cannot write data",
    "broken pipe",
    "connection reset",
)


def is_connection_lost(error: Any) -> bool:
    """`error` is a libvirtError."""
    text = str(error).lower()
    return error.get_error_code() in CONNECTION_CODES or any(
        word in text for word in CONNECTION_WORDS
    )


def is_no_domain(error: Any) -> bool:
    return bool(error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)


def is_not_active(error: Any) -> bool:
    """The domain is not running any more: for a wish to stop it, no error."""
    return bool(error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID) and any(
        words in str(error) for words in ("is not running", "not active")
    )


def is_drive_locked(error: Any) -> bool:
    """The guest keeps the drive's tray shut."""
    text = str(error).lower()
    return "tray" in text or ("device" in text and "locked" in text)


def explain(
    error: Any,
    host: str,
    step: str,
    table: tuple[Meaning, ...],
    otherwise: Reason,
    sentence: str,
    kind: type[Transient] = Transient,
) -> EngineError:
    """The error as ours. What no line of the table knows is tried again: libvirt's text is kept."""
    text = str(error)
    lowered = text.lower()
    for meaning in table:
        coded = not meaning.codes or error.get_error_code() in meaning.codes
        said = all(
            not words or any(word in lowered for word in words)
            for words in (meaning.words, meaning.also)
        )
        if coded and said:
            message = meaning.message.format(host=host)
            return meaning.kind(meaning.reason, message, step=step, answer=text)
    return kind(otherwise, f"{sentence}: {text}", step=step, answer=text)


def explain_step(error: Any, host: str, step: str, meanings: tuple[Meaning, ...]) -> EngineError:
    """For a call on a connection that is there."""
    return explain(error, host, step, meanings, REASONS[step], SENTENCES[step])


SENTENCES = {
    "list": "The domains could not be listed",
    "look": "The domain could not be looked at",
    "create": "The desktop could not be started",
    "shutdown": "The guest could not be asked to shut down",
    "destroy": "The desktop could not be powered off",
    "suspend": "The desktop could not be paused",
    "resume": "The desktop could not be resumed",
    "console_password": "The console's password could not be changed",
    "media": "What is in its drives could not be changed",
    "screenshot": "The screen could not be read",
    "stats": "The host's numbers could not be read",
    "info": "The host's properties could not be read",
    "networks": "The host's networks could not be read",
    "network": "The desktop's network could not be made",
}
"""Step -> what could not be done."""

REASONS: dict[str, Reason] = {
    **dict.fromkeys(SENTENCES, Reason.HOST_UNREACHABLE),
    "create": Reason.START_FAILED,
    "media": Reason.MEDIA_FAILED,
    "network": Reason.START_FAILED,
    "resume": Reason.START_FAILED,
    "shutdown": Reason.STOP_FAILED,
    "destroy": Reason.STOP_FAILED,
    "suspend": Reason.STOP_FAILED,
}
"""Step -> the reason, where the answer has no meaning of its own."""
