"""The JSON of stored documents, kept so that reading them costs no encoding.

A document has its JSON made when it is written; answers that contain whole documents paste it.
Entries are found by the identity of the document object, which is safe because the table holds the
object for as long as its entry is here (`Table` forgets both together). The memory is bounded: when
it is used up everything is dropped and made anew as it is read.
"""

from __future__ import annotations

from typing import Final

from db.embedded.datum import Datum, to_json

MOST_BYTES: Final = 48 * 1024 * 1024


class EncodedDocuments:
    """JSON by document; one per store."""

    __slots__ = ("_by_id", "_bytes")

    def __init__(self) -> None:
        self._by_id: dict[int, bytes] = {}
        self._bytes = 0

    def keep(self, document: Datum, encoded: bytes) -> None:
        """Remember the JSON of a document that is in its table."""
        self.forget(document)
        self._bytes += len(encoded)
        if self._bytes > MOST_BYTES:
            self._by_id.clear()
            self._bytes = len(encoded)
        self._by_id[id(document)] = encoded

    def forget(self, document: Datum) -> None:
        """The document has left its table."""
        encoded = self._by_id.pop(id(document), None)
        if encoded is not None:
            self._bytes -= len(encoded)

    def of(self, document: Datum) -> bytes:
        """The JSON of a document, kept or not."""
        return self._by_id.get(id(document)) or to_json(document)
