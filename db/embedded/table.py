"""One table in memory: documents by key, ordered keys, secondary indexes, feeds.

Documents are plain immutable dicts under the order key of their primary key. Ordered structures are
built when first needed (an unordered scan, a point read or an insert into a table nobody
sorts needs none). Every change goes through `put`, which keeps indexes in step and records it in
the store; reads are served from here alone. The write terms call `put`, `Read` calls `read`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedList

from db.embedded.compiler import compile_query
from db.embedded.datum import Datum, to_json
from db.embedded.env import MOST_LOOKS, Env
from db.embedded.errors import OpFailedError, QueryLogicError, ReqlError
from db.embedded.index import Index
from db.embedded.keys import walk
from db.embedded.sequences import Read, Selection
from db.embedded.store import Change, Store

if TYPE_CHECKING:
    from db.embedded.catalog import Database
    from db.embedded.changes import Follower


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
        self._building: dict[str, Index] = {}
        self.followers: dict[Follower, None] = {}
        self.key_followers: dict[bytes, dict[Follower, None]] = {}
        self._sorted: SortedList | None = None
        self._snapshot: list[Datum] | None = None
        self.write_hook: Callable[..., Any] | None = None
        self.whole = Selection(Read(self))
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
                self.indexes[name] = self._built(name, settings)
        hook = config.get("write_hook")
        self.write_hook = _write_hook(hook["function"]) if hook else None

    def _built(self, name: str, settings: dict[str, Any]) -> Index:
        """The index that `build_index` has made, or where nobody waits, one made now."""
        built = self._building.get(name)
        if built is not None and built.config == settings and not built.waiting:
            del self._building[name]
            return built
        index = Index(name, settings)
        for key, document in self.documents.items():
            index.add(key, document)
        return index

    @contextmanager
    def build_index(
        self, name: str, settings: dict[str, Any], tick: Callable[[], None]
    ) -> Iterator[None]:
        """Make an index while others go on; inside the `with`, `configure` takes it over."""
        if name in self._building:
            raise OpFailedError(f"Index `{name}` is being made on table `{self.full_name}`.")
        index = self._building[name] = Index(name, settings)
        index.waiting.update(self.documents)
        try:
            for key in list(index.waiting):
                tick()
                if key in index.waiting:
                    index.waiting.discard(key)
                    index.add(key, self.documents[key])
            yield
        finally:
            self._building.pop(name, None)

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
        if stored is not None:
            self.store.encoded.keep(new, stored)
        self.store.record(Change(self, key, old, new, stored), hard)

    def _place(self, key: bytes, old: Datum, new: Datum) -> None:
        self._snapshot = None
        if old is not None:
            self.store.encoded.forget(old)
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
            index.change(key, old, new)
        for index in self._building.values():
            index.change(key, old, new)

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


def _write_hook(term: Any) -> Callable[..., Any]:
    env = Env()
    function = compile_query(term).run([env])

    def call(context: Datum, old: Datum, new: Datum) -> Any:
        env.looks_left = MOST_LOOKS
        env.now = context["timestamp"]
        return function.call(context, old, new)

    return call


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
    except QueryLogicError:
        raise QueryLogicError("`r.minval` and `r.maxval` cannot be written to disk.") from None


def new_id() -> str:
    return str(uuid.uuid4())
