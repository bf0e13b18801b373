"""One table in memory: documents by key, ordered keys, secondary indexes, feeds.

Documents are plain immutable dicts under the order key of their primary key. Ordered structures are
built when first needed (an unordered scan, a point read or an insert into a table nobody
sorts needs none). Every change goes through `put`, which keeps indexes in step and records it in
the store; reads are served from here alone. The write terms call `put`, `Read` calls `read`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sortedcontainers import SortedList

from db.embedded.compiler import compile_query
from db.embedded.datum import Datum, order_key, pretty, to_json, type_name
from db.embedded.env import Env
from db.embedded.errors import OpFailedError, QueryLogicError, ReqlError
from db.embedded.sequences import Read
from db.embedded.store import Change, Store

if TYPE_CHECKING:
    from db.embedded.catalog import Database
    from db.embedded.changes import Follower

_FIRST_CHUNK: Final = 256
_LARGEST_CHUNK: Final = 8192
INDEXABLE: Final = frozenset(b"\x10\x20\x21\x40\x60\x70\x80")


class Index:
    """A secondary index: order key of the indexed value -> keys of its documents."""

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        self.name = name
        self.config = config
        self.multi = bool(config.get("multi"))
        self.ready = True
        self.buckets: dict[bytes, dict[bytes, int]] = {}
        self._sorted: SortedList | None = None
        function = compile_query(config["function"]).run([Env()])
        self.value_of = function.unary

    def keys_of(self, document: Datum) -> list[bytes]:
        """The index keys of a document; none where the function fails or yields no key."""
        try:
            value = self.value_of(document)
        except ReqlError:
            return []
        if self.multi and type(value) is list:
            return [key for item in value if (key := self._key(item)) is not None]
        key = self._key(value)
        return [] if key is None else [key]

    def _key(self, value: Datum) -> bytes | None:
        try:
            key = order_key(value)
        except KeyError:
            return None
        if key[0] not in INDEXABLE or (key[0] == 0x10 and not _all_indexable(value)):
            return None
        return key

    def add(self, key: bytes, document: Datum) -> None:
        for value in self.keys_of(document):
            bucket = self.buckets.get(value)
            if bucket is None:
                self.buckets[value] = {key: 1}
                if self._sorted is not None:
                    self._sorted.add(value)
            else:
                bucket[key] = bucket.get(key, 0) + 1

    def discard(self, key: bytes, document: Datum) -> None:
        for value in self.keys_of(document):
            bucket = self.buckets.get(value)
            if bucket is None:
                continue
            bucket.pop(key, None)
            if not bucket:
                del self.buckets[value]
                if self._sorted is not None:
                    self._sorted.remove(value)

    def ordered(self) -> SortedList:
        if self._sorted is None:
            self._sorted = SortedList(self.buckets)
        return self._sorted


def _all_indexable(value: list[Datum]) -> bool:
    for item in value:
        key = order_key(item)
        if key[0] not in INDEXABLE:
            return False
        if type(item) is list and not _all_indexable(item):
            return False
    return True


def walk(
    keys: SortedList,
    low: bytes | None,
    high: bytes | None,
    low_open: bool,
    high_open: bool,
    descending: bool = False,
) -> Iterator[bytes]:
    """Keys of a range in order, in chunks, so that changes in between do no harm."""
    size = _FIRST_CHUNK
    while True:
        if low is not None and high is not None and low > high:
            return
        chunk = list(
            islice(keys.irange(low, high, (not low_open, not high_open), descending), size)
        )
        yield from chunk
        if len(chunk) < size:
            return
        if descending:
            high, high_open = chunk[-1], True
        else:
            low, low_open = chunk[-1], True
        size = min(size * 4, _LARGEST_CHUNK)


class Table:
    """The documents of one table and everything derived from them."""

    is_system = False

    def start_looking(self) -> None:
        """Changes are handed over as they are released."""

    def __init__(self, store: Store, database: Database, ident: str, config: dict[str, Any]):
        self.store = store
        self.database = database
        self.id = ident
        self.config = config
        self.number: int = config["number"]
        self.documents: dict[bytes, Datum] = {}
        self.indexes: dict[str, Index] = {}
        self.followers: dict[Follower, None] = {}
        self.key_followers: dict[bytes, dict[Follower, None]] = {}
        self._sorted: SortedList | None = None
        self._snapshot: list[Datum] | None = None
        self.write_hook: Callable[..., Any] | None = None
        self.configure(config)

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def full_name(self) -> str:
        return f"{self.database.name}.{self.name}"

    @property
    def primary_key(self) -> str:
        return str(self.config["primary_key"])

    def configure(self, config: dict[str, Any]) -> None:
        """Take over a new configuration: name, options, indexes, write hook."""
        self.config = config
        for name in [name for name in self.indexes if name not in config["indexes"]]:
            del self.indexes[name]
        for name, settings in config["indexes"].items():
            known = self.indexes.get(name)
            if known is None or known.config != settings:
                self.indexes[name] = Index(name, settings)
                self._fill(self.indexes[name])
        hook = config.get("write_hook")
        self.write_hook = compile_query(hook["function"]).run([Env()]).call if hook else None

    def _fill(self, index: Index) -> None:
        for key, document in self.documents.items():
            index.add(key, document)

    # --- reading --------------------------------------------------------------------------

    def get(self, key: bytes) -> Datum:
        return self.documents.get(key)

    def count(self) -> int:
        return len(self.documents)

    def ordered(self) -> SortedList:
        if self._sorted is None:
            self._sorted = SortedList(self.documents)
        return self._sorted

    def index(self, name: str) -> Index:
        found = self.indexes.get(name)
        if found is None:
            raise index_missing(self, name)
        return found

    def read(self, read: Read) -> Iterable[Datum]:
        if read.index is not None:
            return self._read_index(self.index(read.index), read)
        if read.keys is not None:
            return self._documents(read.keys)
        if read.order is None and read.is_whole_table:
            if self._snapshot is None:
                self._snapshot = list(self.documents.values())
            return self._snapshot
        return self._documents(
            walk(
                self.ordered(),
                read.low,
                read.high,
                read.low_open,
                read.high_open,
                read.order == "desc",
            )
        )

    def _documents(self, keys: Iterable[bytes]) -> Iterator[Datum]:
        get = self.documents.get
        for key in keys:
            document = get(key)
            if document is not None:
                yield document

    def _read_index(self, index: Index, read: Read) -> Iterator[Datum]:
        get, buckets = self.documents.get, index.buckets
        if read.keys is not None:
            values: Iterable[bytes] = read.keys
            if read.order is not None:
                values = sorted(read.keys, reverse=read.order == "desc")
        else:
            values = walk(
                index.ordered(),
                read.low,
                read.high,
                read.low_open,
                read.high_open,
                read.order == "desc",
            )
        for value in values:
            bucket = buckets.get(value)
            if not bucket:
                continue
            keys = list(bucket.items())
            if read.order is not None and len(keys) > 1:
                keys.sort(reverse=read.order == "desc")
            for key, times in keys:
                document = get(key)
                if document is not None:
                    for _ in range(times):
                        yield document

    # --- changing -------------------------------------------------------------------------

    def put(self, key: bytes, new: Datum, hard: bool) -> None:
        """Make `new` the document under the key (None removes it) and record the change."""
        stored = None if new is None else storable(new)
        old = self.documents.get(key)
        self._place(key, old, new)
        self.store.record(Change(self, key, old, new, stored), hard)

    def _place(self, key: bytes, old: Datum, new: Datum) -> None:
        self._snapshot = None
        if new is None:
            if old is None:
                return
            del self.documents[key]
            if self._sorted is not None:
                self._sorted.remove(key)
        else:
            self.documents[key] = new
            if old is None and self._sorted is not None:
                self._sorted.add(key)
        for index in self.indexes.values():
            if old is not None:
                index.discard(key, old)
            if new is not None:
                index.add(key, new)

    def restore(self, key: bytes, value: Datum) -> None:
        self._place(key, self.documents.get(key), value)

    def released(self, changes: list[Change]) -> None:
        """Hand changes to the feeds that follow this table."""
        for follower in list(self.followers):
            follower.take(changes)
        if self.key_followers:
            for change in changes:
                for follower in list(self.key_followers.get(change.key, ())):
                    follower.take([change])


class MemoryTable(Table):
    """A table that is never written to disk."""

    def put(self, key: bytes, new: Datum, hard: bool) -> None:
        old = self.documents.get(key)
        self._place(key, old, new)
        self.released([Change(self, key, old, new, None)])


def index_missing(table: Any, name: str) -> ReqlError:
    return OpFailedError(f"Index `{name}` was not found on table `{table.full_name}`.")


def storable(document: Datum) -> bytes:
    try:
        return to_json(document)
    except TypeError:
        raise QueryLogicError("`r.minval` and `r.maxval` cannot be written to disk.") from None


def new_id() -> str:
    return str(uuid.uuid4())


def key_from_value(value: Datum) -> bytes:
    key = order_key(value)
    if key[0] not in INDEXABLE or (key[0] == 0x10 and not _all_indexable(value)):
        raise QueryLogicError(
            "Primary keys must be either a number, string, bool, pseudotype or array "
            f"(got type {type_name(value)}):\n{pretty(value)}"
        )
    if len(key) > LONGEST_PRIMARY_KEY:
        raise QueryLogicError(
            f"Primary key too long (max {LONGEST_PRIMARY_KEY - 1} characters): {pretty(value)}"
        )
    if type(value) is str and "\x00" in value:
        raise QueryLogicError("Key cannot contain `\\u0000`.")
    return key


LONGEST_PRIMARY_KEY: Final = 128
