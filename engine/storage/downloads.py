"""Media on a disk host: fetched by curl there, examined, published, removed. Every method is
idempotent.

The host that owns the storage fetches by itself, so no content passes through the engine. What is
fetched from is judged first: the name is resolved once, on that host, and curl gets the judged
network addresses with the order to use no others; redirects are read here and judged again. A file
is under its final name only after its checksum and its first bytes were found right. Nothing of an
address that may be secret is in an argument vector, a log or an error. Called by the media
reconciler.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from db.rowcheck import is_uuid
from db.states import Reason
from db.urls import Address, read_url
from engine.errors import CommandFailed, EngineError, Terminal, Transient
from engine.hypervisor.guard import GUARD_NO_LOCK
from engine.hypervisor.ssh import SshSession
from engine.storage import curl, images, media_programs, ovf, programs, qemu_img
from engine.storage.addresses import Network, find_refused, parse_hosts
from engine.storage.faults import explain
from engine.storage.media_paths import MediaPlace
from engine.storage.programs import CREATED_WITH

REDIRECTS_MAX = 8
RESERVE_BYTES = 256 * 1024**2
"""A download leaves this much free: a storage that is full stops every desktop on it."""
UNKNOWN = -1
ASK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Source:
    """Where the content is, all redirects behind us. `tag` tells it from any other content."""

    request: curl.Request
    size: int
    tag: str


@dataclass(frozen=True)
class Stored:
    """A medium that is there. `format` and `sha256` are known of what was just fetched."""

    path: str
    size: int
    format: str = ""
    sha256: str = ""


class MediaHost:
    """The media operations of one host. Any thread may call."""

    def __init__(self, ssh: SshSession, installation: str) -> None:
        if not is_uuid(installation):
            raise ValueError(f"{installation!r} is no installation's id")
        self._ssh, self._installation = ssh, installation
        self._settings = ssh.settings

    def look(self, place: MediaPlace) -> Stored | None:
        """The published file, or None when the right storage is there and the file is not."""
        try:
            done = self._run(media_programs.LOOK, place, label=f"ls {place.folder}")
        except CommandFailed as error:
            if error.exit_status == programs.NOT_THERE:
                return None
            raise explain(error, self._at(place), "look") from error
        extension, size = done.split()
        return Stored(place.path(extension), int(size))

    def weigh(self, place: MediaPlace) -> int | None:
        """How many bytes its folder holds, finished or not; None where there is none."""
        try:
            done = self._run(media_programs.WEIGH, place, label=f"du {place.folder}")
        except CommandFailed as error:
            if error.exit_status == programs.NOT_THERE:
                return None
            raise explain(error, self._at(place), "look") from error
        return int(done.split()[0])

    def find_source(self, url: str, allowed: Sequence[Network], *, trusts_http: bool) -> Source:
        """Follow the redirects, judging each. `trusts_http`: content that is known by its checksum
        may come unencrypted even where it was asked for by https.
        """
        address = self._read(url)
        for _ in range(REDIRECTS_MAX):
            request = self._judge(address, allowed)
            head = self._ask(request)
            if head.status in (301, 302, 303, 307, 308) and head.location:
                address = self._follow(address, head.location, trusts_http=trusts_http)
                continue
            if not 200 <= head.status < 300:
                raise self._fault(curl.meaning_of_status(head.status), address, "ask")
            return _describe(request, head)
        raise Terminal(
            Reason.DOWNLOAD_FAILED,
            f"{self._read(url).shown} redirects on and on: more than {REDIRECTS_MAX} times.",
            step="ask",
        )

    def check_room(self, place: MediaPlace, size: int) -> int:
        """How large the file may become. Raises where what is known of it does not fit."""
        try:
            done = self._run(media_programs.ROOM, place, label=f"df {place.pool_path}")
        except CommandFailed as error:
            raise explain(error, self._at(place), "room") from error
        free, total, have = (int(word) for word in done.split()[-3:])
        limit = free + have - RESERVE_BYTES
        if size <= limit:
            return max(limit, 0)
        message = (
            f"It needs {_gib(size)}, and {self._at(place)} has {_gib(free)} free. "
            "Make room there, or choose another pool."
        )
        if size > total - RESERVE_BYTES:
            raise Terminal(Reason.NO_SPACE, message, step="room")
        raise Transient(Reason.NO_SPACE, message, step="room", retry_after_s=60.0)

    def fetch(
        self,
        place: MediaPlace,
        source: Source,
        *,
        limit: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Until the file is there in full. `on_bytes` hears how much there is, a few times each
        second; what it raises ends the transfer.
        """
        address = source.request.address
        deadline = time.monotonic() + self._settings.download_timeout_s
        for _ in range(2):
            status, answer = self._transfer(place, source, limit, on_bytes, deadline)
            if status != media_programs.BEGIN_AGAIN:
                break
        if status == 0:
            size = int(answer.split()[-1])
            if source.size not in (UNKNOWN, size):
                meaning = curl.Meaning(Reason.DOWNLOAD_FAILED, "{where} sent less than it said.")
                raise self._fault(meaning, address, "download")
            return
        if status == media_programs.TOO_LARGE:
            message = f"It is larger than what is free on {self._at(place)}."
            raise Terminal(Reason.NO_SPACE, message, step="download")
        raise self._fault(curl.meaning_of(curl.status_of(answer)), address, "download", answer)

    def examine(self, place: MediaPlace, kind: str, sha256: str | None) -> tuple[Stored, str]:
        """The fetched file's facts and the extension it is to have. Raises Terminal, and forgets
        the file, where it is not what it should be.
        """
        numbers = (images.HEAD_BYTES, images.VOLUME_AT, images.VOLUME_BYTES)
        answer = self._locked(
            media_programs.EXAMINE,
            place,
            *map(str, numbers),
            label=f"sha256sum {place.unfinished}",
            timeout_s=self._settings.convert_timeout_s,
        )
        size, digest, head, volume = [*answer.split("\n"), "", "", "", ""][:4]
        found = images.recognise(kind, int(size), base64.b64decode(head), base64.b64decode(volume))
        objection, reason = found.objection, Reason.NOT_AN_IMAGE
        if objection is None and sha256 is not None and digest != sha256.lower():
            reason = Reason.CHECKSUM_DIFFERS
            objection = f"its SHA-256 is {digest}, not the one that was given"
        if objection is None and kind == "disk" and found.format in qemu_img.IMAGE_FORMATS:
            objection = self._ask_qemu(place, found.format)
        if objection is not None:
            self._run(media_programs.FORGET_PART, place, label=f"rm {place.unfinished}")
            raise Terminal(reason, f"The file is refused: {objection}.", step="check")
        stored = Stored(place.path(found.extension), int(size), found.format, digest)
        return stored, found.extension

    def publish(self, place: MediaPlace, extension: str) -> None:
        path = place.path(extension)
        self._locked(media_programs.PUBLISH, place, extension, label=f"ln {path}")
        if self.look(place) is None:
            raise Transient(
                Reason.DISK_FAILED, f"{path} is not there although it was made.", step="publish"
            )

    def describe(self, place: MediaPlace) -> ovf.Hardware:
        """What the OVF in a published OVA states. No archive makes it fail, only its host does."""
        try:
            done = self._ssh.run(
                self._program(media_programs.DESCRIBE, place, str(ovf.TEXT_MAX_BYTES + 1)),
                timeout_s=self._settings.disk_timeout_s,
                label=f"tar -x {place.path('ova')}",
            )
        except CommandFailed as error:
            raise self._explain(error, place, "describe") from error
        text, *names = done.text.split("\n")
        return ovf.read_hardware(base64.b64decode(text), names)

    def clear(self, place: MediaPlace) -> None:
        """Removes everything of it, and its folder."""
        lock = place.lock(self._installation)
        self._locked(media_programs.CLEAR, place, lock, label=f"rm {place.folder}")

    def _read(self, url: str) -> Address:
        try:
            return read_url(url)
        except ValueError as error:
            raise Terminal(
                Reason.ADDRESS_REFUSED, f"The address cannot be used: {error}.", step="address"
            ) from error

    def _follow(self, address: Address, location: str, *, trusts_http: bool) -> Address:
        try:
            after = address.follow(location)
        except ValueError as error:
            raise Terminal(
                Reason.ADDRESS_REFUSED,
                f"{address.shown} redirects to an address that cannot be used: {error}.",
                step="address",
            ) from error
        if address.is_encrypted and not after.is_encrypted and not trusts_http:
            raise Terminal(
                Reason.ADDRESS_REFUSED,
                f"{address.shown} redirects to an unencrypted address, {after.shown}. "
                "Give the file's SHA-256 to have it fetched from there.",
                step="address",
            )
        return after

    def _judge(self, address: Address, allowed: Sequence[Network]) -> curl.Request:
        """What its host means, if all of that may be fetched from."""
        try:
            done = self._ssh.run(
                ["getent", "ahosts", address.host], timeout_s=self._settings.call_timeout_s
            )
        except CommandFailed as error:
            raise Transient(
                Reason.DOWNLOAD_FAILED,
                f"The host {address.host!r} is not known on {self._ssh.address}. "
                "Look at the address, or at the disk host's resolver.",
                step="address",
                command=error.command,
                answer=error.answer,
                retry_after_s=30.0,
            ) from error
        found = parse_hosts(done.text)
        refused = find_refused(found, allowed) if found else address.host
        if refused is not None:
            raise Terminal(
                Reason.ADDRESS_REFUSED,
                f"{address.shown} is at {refused}, an address inside that media are not fetched "
                "from. An administrator can allow its network.",
                step="address",
            )
        return curl.Request(address, found)

    def _ask(self, request: curl.Request) -> curl.Head:
        status, text, complaint = self._ask_once(request, curl.ASK)
        head = curl.parse_head(text)
        if status == 0 and head.status in (400, 403, 405, 501):
            status, text, complaint = self._ask_once(request, curl.ASK_FOR_A_BYTE)
            head = curl.parse_head(text)
            status = 0 if head.status else status
        if status != 0:
            # What the server said is not repeated: it may hold addresses with tickets in them.
            raise self._fault(curl.meaning_of(status), request.address, "ask", complaint)
        return head

    def _ask_once(self, request: curl.Request, argv: Sequence[str]) -> tuple[int, str, str]:
        """(curl's exit status, what the server said, what curl complains of)"""
        done = self._ssh.run(
            ["sh", "-c", media_programs.ASK, CREATED_WITH, *argv],
            timeout_s=ASK_TIMEOUT_S,
            input=request.as_config(),
            label=f"curl {request.address.shown}",
        )
        text, _, status = done.text.rstrip("\n").rpartition("\ncurl ")
        return int(status), text, done.error_text

    def _transfer(
        self,
        place: MediaPlace,
        source: Source,
        limit: int,
        on_bytes: Callable[[int], None],
        deadline: float,
    ) -> tuple[int, str]:
        def listen(chunk: bytes) -> None:
            words = chunk.split()
            if words and words[-1].isdigit():
                on_bytes(int(words[-1]))

        size = str(source.size)
        argv = curl.fetch(self._settings.stall_timeout_s)
        done = self._ssh.run_locked(
            place.lock(self._installation),
            self._program(media_programs.FETCH, place, source.tag, size, str(limit), *argv),
            timeout_s=max(1.0, deadline - time.monotonic()),
            check=False,
            on_output=listen,
            label=f"curl {source.request.address.shown}",
            secret=source.request.as_config(),
        )
        known = (0, media_programs.CURL_SAID, media_programs.BEGIN_AGAIN, media_programs.TOO_LARGE)
        if done.exit_status not in known:
            label = f"curl {source.request.address.shown}"
            answer = done.error_text
            error = CommandFailed(argv, done.exit_status, command=label, answer=answer)
            raise self._explain(error, place, "download")
        last = "\n".join(done.text.split("\n")[-3:])
        return done.exit_status, f"{done.error_text}\n{last}".strip()

    def _ask_qemu(self, place: MediaPlace, format: str) -> str | None:
        """qemu-img's own objection to a disk image whose header was found harmless."""
        try:
            answer = self._run(
                media_programs.INFO, place, format, label=f"qemu-img info {place.unfinished}"
            )
            return qemu_img.find_objection(qemu_img.parse_info(answer))
        except (CommandFailed, ValueError) as error:
            return f"qemu-img cannot read it ({error})".rstrip(".")

    def _run(self, program: str, place: MediaPlace, *arguments: str, label: str) -> str:
        done = self._ssh.run(
            self._program(program, place, *arguments),
            timeout_s=self._settings.call_timeout_s,
            label=label,
        )
        return done.text

    def _locked(
        self,
        program: str,
        place: MediaPlace,
        *arguments: str,
        label: str,
        timeout_s: float | None = None,
    ) -> str:
        try:
            done = self._ssh.run_locked(
                place.lock(self._installation),
                self._program(program, place, *arguments),
                timeout_s=timeout_s or self._settings.disk_timeout_s,
                label=label,
            )
        except CommandFailed as error:
            raise self._explain(error, place, label.split()[0]) from error
        return done.text

    def _program(self, program: str, place: MediaPlace, *arguments: str) -> list[str]:
        where = (place.pool_path, place.media_id, self._installation)
        return ["sh", "-c", program, CREATED_WITH, *where, *arguments]

    def _explain(self, error: CommandFailed, place: MediaPlace, step: str) -> EngineError:
        if error.exit_status == GUARD_NO_LOCK:
            message = f"The folder of locks in {self._at(place)} is gone."
            return Transient(Reason.WRONG_STORAGE, message, step=step, retry_after_s=30.0)
        return explain(error, self._at(place), step)

    def _fault(
        self, meaning: curl.Meaning, address: Address, step: str, answer: str = ""
    ) -> EngineError:
        kind = Terminal if meaning.terminal else Transient
        return kind(
            meaning.reason,
            meaning.message.format(where=address.shown),
            step=step,
            command=f"curl {address.shown}",
            answer=answer,
        )

    def _at(self, place: MediaPlace) -> str:
        return f"{place.pool_path} on {self._ssh.address}"


def uploaded(url: str, ticket: str, media_id: str, size: int) -> Source:
    """What a browser has left at a webapp. The address is our own and the ticket goes with it."""
    request = curl.Request(read_url(url), headers={"Authorization": f"Upload {ticket}"})
    return Source(request, size, f"upload {media_id} {size}")


def _describe(request: curl.Request, head: curl.Head) -> Source:
    size = UNKNOWN if head.size is None else head.size
    text = f"{request.address.url}\n{head.version}\n{size}"
    tag = hashlib.sha256(text.encode()).hexdigest()
    return Source(request, size, tag)


def _gib(size: int) -> str:
    return f"{size / qemu_img.GIB:.2f} GiB"
