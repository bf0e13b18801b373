"""A medium's file, sent by its disk host to a web side that waits for it.

The reverse of an upload: no content passes through the engine, curl reads the file where it lies
and the ticket goes through standard input. The file is one of ours by its place, never by a path
that somebody wrote, and is held by its medium's lock while it is read, so nothing removes it.
Called by engine.reconcilers.task_deliver.
"""

from __future__ import annotations

from collections.abc import Callable

from db.states import Reason
from db.urls import read_url
from engine.errors import CommandFailed, Transient
from engine.storage import curl, media_programs
from engine.storage.downloads import MediaHost, Stored
from engine.storage.media_paths import MediaPlace

REFUSED = 22
MEANINGS = {
    REFUSED: "The web side at {where} did not take the file.",
    55: "The connection to {where} broke.",
    56: "The connection to {where} broke.",
    28: "{where} stopped taking the file.",
}


def destination(url: str, ticket: str) -> curl.Request:
    """Where a web side takes it. The address is our own and the ticket goes with it."""
    return curl.Request(read_url(url), headers={"Authorization": f"Delivery {ticket}"})


class DeliveryHost(MediaHost):
    """Any thread may call."""

    def send(
        self,
        place: MediaPlace,
        stored: Stored,
        to: curl.Request,
        *,
        on_bytes: Callable[[int], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        """Until all of it was taken. `on_bytes` hears how much was read, twice each second. Raises
        Transient where the other side does not take it, CalledOff where `is_stopped` says so.
        """

        def listen(chunk: bytes) -> None:
            words = chunk.split()
            if words and words[-1].isdigit():
                on_bytes(int(words[-1]))

        extension = stored.path.rpartition(".")[2]
        argv = curl.send(self._settings.stall_timeout_s)
        label = f"curl --upload-file {place.path(extension)} {to.address.shown}"
        done = self._ssh.run_locked(
            place.lock(self._installation),
            self._program(media_programs.DELIVER, place, extension, str(stored.size), *argv),
            timeout_s=self._settings.task_timeout_s,
            check=False,
            on_output=listen,
            is_stopped=is_stopped,
            label=label,
            secret=to.as_config(),
        )
        if done.exit_status == 0:
            return
        answer = done.error_text
        if done.exit_status != media_programs.CURL_SAID:
            error = CommandFailed(tuple(argv), done.exit_status, command=label, answer=answer)
            raise self._explain(error, place, "send") from error
        status = curl.status_of(done.text)
        text = MEANINGS.get(status) or curl.meaning_of(status).message
        message = text.format(where=to.address.shown)
        raise Transient(Reason.DOWNLOAD_FAILED, message, step="send", command=label, answer=answer)
