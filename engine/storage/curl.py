"""curl's command line and answers. Pure.

What is the same for every download is on the command line; what depends on the medium (address,
pinned network addresses, name and password, ticket) is curl's configuration and goes through
standard input, so it is in no process list and no log. curl follows no redirect itself, asks no
proxy and reads nobody's settings. Called by engine.storage.downloads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from db.states import Reason
from db.urls import Address

CONNECT_TIMEOUT_S = 15
STALL_BYTES_S = 1024
STALL_S = 30
"""Slower than this for so long is a transfer that stalled: it is cut and begun again where it was.
"""

COMMON = (
    *("curl", "-q", "--globoff", "--silent", "--show-error"),
    *("--noproxy", "*", "--proto", "=http,https,ftp", "--ftp-pasv", "--ftp-skip-pasv-ip"),
    *("--connect-timeout", str(CONNECT_TIMEOUT_S), "--user-agent", "IsardVDI"),
    *("--config", "-"),
)
ASK = (*COMMON, "--head", "--max-time", "30")
ASK_FOR_A_BYTE = (
    *(*COMMON, "--range", "0-0", "--dump-header", "-", "--output", "/dev/null"),
    *("--max-filesize", "1024", "--max-time", "30"),
)
"""For servers that refuse to be asked for the head alone."""


def fetch(stall_s: float = STALL_S) -> list[str]:
    """Goes on where the file ends; the program adds `--output`."""
    limits = ("--speed-limit", str(STALL_BYTES_S), "--speed-time", f"{max(1, round(stall_s))}")
    return [*COMMON, "--fail", *limits, "--continue-at", "-"]


def send(stall_s: float = STALL_S) -> list[str]:
    """Sends a file; the program adds `--upload-file`."""
    limits = ("--speed-limit", str(STALL_BYTES_S), "--speed-time", f"{max(1, round(stall_s))}")
    return [*COMMON, "--fail", *limits, "--output", "/dev/null"]


@dataclass(frozen=True)
class Request:
    """`addresses`: what the host's name means, already judged; empty for an address of our own."""

    address: Address
    addresses: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def as_config(self) -> bytes:
        lines = [_line("url", self.address.url)]
        # An IPv6 address means itself, and curl takes no pin for one.
        if self.addresses and ":" not in self.address.host:
            pinned = ",".join(f"[{one}]" if ":" in one else one for one in self.addresses)
            lines.append(_line("resolve", f"{self.address.host}:{self.address.port}:{pinned}"))
        if self.address.user or self.address.password:
            lines.append(_line("user", f"{self.address.user}:{self.address.password}"))
        lines += [_line("header", f"{name}: {value}") for name, value in self.headers.items()]
        return "".join(lines).encode()


@dataclass(frozen=True)
class Head:
    """What a server said before any content. `size` None: it does not say."""

    status: int
    location: str | None = None
    size: int | None = None
    resumable: bool = False
    version: str = ""
    """What tells this content from a later one at the same address."""


def parse_head(text: str) -> Head:
    """The last answer in curl's dump of headers (FTP's has no status: 200)."""
    blocks = [block for block in re.split(r"\r?\n\r?\n", text.strip()) if block.strip()]
    lines = (blocks[-1] if blocks else "").splitlines()
    found = re.match(r"HTTP/\S+ (\d{3})", lines[0]) if lines else None
    fields: dict[str, str] = {}
    for line in lines[1 if found else 0 :]:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    status = int(found[1]) if found else (200 if "content-length" in fields else 0)
    size = fields.get("content-length", "")
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", fields.get("content-range", ""))
    if whole:
        size = whole[1]
    return Head(
        status=status,
        location=fields.get("location") or None,
        # Some say nothing by saying 0.
        size=int(size) or None if size.isdigit() else None,
        resumable=bool(whole) or fields.get("accept-ranges", "").lower() == "bytes",
        version=f"{fields.get('etag', '')} {fields.get('last-modified', '')}".strip(),
    )


@dataclass(frozen=True)
class Meaning:
    """`{where}` is the address as it may be shown."""

    reason: Reason
    message: str
    terminal: bool = False


FAILED = Reason.DOWNLOAD_FAILED
MEANINGS: dict[int, Meaning] = {
    1: Meaning(FAILED, "The disk host's curl cannot fetch {where}.", terminal=True),
    6: Meaning(FAILED, "The host of {where} is not known to the disk host."),
    7: Meaning(FAILED, "{where} does not answer: nothing listens there."),
    18: Meaning(FAILED, "The transfer from {where} was cut. It goes on where it was."),
    22: Meaning(FAILED, "{where} refused to send the file."),
    23: Meaning(Reason.NO_SPACE, "The storage ran out of space while fetching {where}."),
    28: Meaning(FAILED, "{where} stopped sending. It goes on where it was."),
    35: Meaning(FAILED, "No encrypted connection to {where} could be made."),
    52: Meaning(FAILED, "{where} closed the connection without an answer."),
    56: Meaning(FAILED, "The connection to {where} broke. It goes on where it was."),
    60: Meaning(FAILED, "The certificate of {where} is not to be trusted.", terminal=True),
    63: Meaning(FAILED, "{where} sends more than it said.", terminal=True),
    67: Meaning(FAILED, "{where} refuses the name and password given.", terminal=True),
    78: Meaning(FAILED, "There is no such file: {where}.", terminal=True),
    127: Meaning(FAILED, "The disk host has no curl. Install the package curl there."),
}


def meaning_of(exit_status: int) -> Meaning:
    known = MEANINGS.get(exit_status)
    return known or Meaning(FAILED, f"{{where}} could not be fetched (curl says {exit_status}).")


def status_of(answer: str) -> int:
    """curl's exit status, where it is the last word of what a program says."""
    word = answer.split()[-1] if answer.split() else ""
    return int(word) if word.isdigit() else 1


HTTP_TERMINAL = frozenset({400, 401, 403, 404, 405, 406, 407, 410, 414, 451})


def meaning_of_status(status: int) -> Meaning:
    """Of an answer that is neither the file nor a redirect."""
    words = {
        401: "asks for a name and a password, or refuses those given",
        403: "may not be read",
        404: "is not there (404)",
        410: "is gone for good (410)",
        429: "asks us to come later (429)",
    }
    what = words.get(status, f"answers with an error ({status})")
    return Meaning(FAILED, f"{{where}} {what}.", terminal=status in HTTP_TERMINAL)


def _line(name: str, value: str) -> str:
    """One line of curl's configuration. Raises ValueError for what would be another line."""
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError(f"{name} has a character that cannot be sent")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name} = "{escaped}"\n'
