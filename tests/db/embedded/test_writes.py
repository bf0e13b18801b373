"""What the write terms and write hooks write, and what they answer.

Chosen cases first, then the write terms against a model of a few lines: whatever is done to a
table in whatever order, the counts, the changes and what is in the table are the model's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.db.embedded.conftest import Run, r

COUNTS = ("deleted", "errors", "inserted", "replaced", "skipped", "unchanged")
Refusal = Callable[..., tuple[str, str]]


def counts(answer: dict[str, Any]) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: answer[name] for name in COUNTS if answer[name]}


@pytest.fixture(scope="module")
def writable(reql: Run) -> Iterator[Any]:
    """A table for a module's tests; each takes it empty."""
    name = "writes_" + uuid.uuid4().hex[:8]
    reql(r.table_create(name, durability="soft"))
    yield r.table(name)
    reql(r.table_drop(name))


@pytest.fixture
def table(writable: Any, reql: Run) -> Any:
    """Two documents without a write hook."""
    reql(writable.set_write_hook(None))
    reql(writable.delete())
    reql(writable.insert([{"id": 1, "n": 1}, {"id": 2, "n": 2, "deep": {"a": 1}}]))
    return writable


def test_a_document_keeps_its_key(reql: Run, table: Any) -> None:
    for change in (
        table.get(1).update({"id": 9}),
        table.get(1).replace({"id": 9}),
        table.get(7).replace({"id": 9}),
        table.insert({"id": 1}, conflict=lambda key, old, new: {"id": 9}),
    ):
        answer = reql(change)
        assert counts(answer) == {"errors": 1}
        assert answer["first_error"].startswith("Primary key `id` cannot be changed (`")
    assert reql(table.get(9)) is None
    assert reql(table.count()) == 2


def test_what_is_no_document_is_counted_as_an_error(reql: Run, table: Any) -> None:
    for change, told in (
        (table.get(1).replace({"n": 1}), "Inserted object must have primary key `id`:"),
        (table.get(1).replace(5), "Inserted value must be an OBJECT (got NUMBER):"),
        (table.get(1).update(5), "Inserted value must be an OBJECT (got NUMBER):"),
        (table.insert([5]), "Expected type OBJECT but found NUMBER."),
        (
            table.get(1).update({"x": r.minval}),
            "`r.minval` and `r.maxval` cannot be written to disk.",
        ),
        (
            table.insert({"id": None}),
            "Primary keys must be either a number, string, bool, pseudotype",
        ),
        (
            table.insert({"id": [1, None]}),
            "Array keys can only contain numbers, strings, bools,  pseu",
        ),
        (table.insert({"id": "x" * 200}), "Primary key too long (max 127 characters): "),
    ):
        answer = reql(change)
        assert counts(answer) == {"errors": 1}
        assert answer["first_error"].startswith(told)


def test_return_changes_tells_all_or_what_changed(reql: Run, table: Any) -> None:
    both = table.get_all(1, 2).update({"n": 1})
    one = {
        "old_val": {"id": 2, "n": 2, "deep": {"a": 1}},
        "new_val": {"id": 2, "n": 1, "deep": {"a": 1}},
    }
    assert reql(both)["replaced"] == 1
    reql(table.get(2).update({"n": 2}))
    assert reql(table.get_all(1, 2).update({"n": 1}, return_changes=True))["changes"] == [one]
    same = {"old_val": {"id": 1, "n": 1}, "new_val": {"id": 1, "n": 1}}
    assert reql(table.get(1).update({"n": 1}, return_changes="always"))["changes"] == [same]
    failed = reql(table.insert({"id": 1}, return_changes="always"))["changes"]
    assert failed[0]["error"].startswith("Duplicate primary key `id`:")
    assert {"old_val": failed[0]["old_val"], "new_val": failed[0]["new_val"]} == same


def test_options_have_types_and_names(table: Any, refusal: Refusal) -> None:
    new = {"id": 5}
    for query, told in (
        (table.insert(new, durability="x"), "Durability option `x` unrecognized (options are"),
        (table.insert(new, durability=1), "Expected type STRING but found NUMBER."),
        (table.insert(new, conflict="x"), "Conflict option `x` unrecognized (options are"),
        (table.insert(new, conflict=1), "Expected type STRING but found NUMBER."),
        (
            table.insert(new, conflict=lambda key, old: old),
            "The conflict function passed to `insert` should",
        ),
        (
            table.insert(new, conflict=lambda key, old, new: r.random(5)),
            "The conflict function passed to `insert` must be",
        ),
        (table.update({"n": r.random(5)}), "Could not prove argument deterministic."),
        (
            table.insert({"id": 5, "a": r.literal(1)}),
            "Stray literal keyword found: literal is only legal",
        ),
        (table.map(lambda row: row).delete(), "Expected type SELECTION but found SEQUENCE:"),
    ):
        assert refusal(query)[1].startswith(told)
    assert refusal(table.insert(new), durability="x")[1].startswith("Durability option `x`")


def test_for_each_adds_up_what_its_writes_answer(reql: Run, table: Any, refusal: Refusal) -> None:
    answer = reql(
        r.expr([1, 3]).for_each(lambda key: [table.insert({"id": key}), table.get(key).delete()])
    )
    assert counts(answer) == {"deleted": 2, "errors": 1, "inserted": 1}
    assert reql(r.expr([]).for_each(lambda key: table.insert({"id": key}))) == {}
    assert refusal(r.expr([1]).for_each(lambda key: key))[1].startswith(
        "FOR_EACH expects one or more basic write queries."
    )


def test_a_write_hook_changes_what_is_written(reql: Run, table: Any, refusal: Refusal) -> None:
    hook = lambda context, old, new: r.branch(  # noqa: E731 (the driver reads the names)
        new.eq(None), None, new.merge({"key": context["primary_key"], "was": old["n"].default(0)})
    )
    assert reql(table.set_write_hook(hook)) == {"created": 1}
    assert reql(table.set_write_hook(hook)) == {"replaced": 1}
    reql(table.get(1).update({"n": 5}))
    assert reql(table.get(1)) == {"id": 1, "n": 5, "key": 1, "was": 1}
    reql(table.insert({"id": 3}, ignore_write_hook=True))
    assert reql(table.get(3)) == {"id": 3}
    assert counts(reql(table.delete())) == {"deleted": 3}
    kept = reql(table.get_write_hook())["function"]
    assert reql(table.set_write_hook(None)) == {"deleted": 1}
    assert reql(table.set_write_hook(kept)) == {"created": 1}
    for wrong, told in (
        (lambda context, old: old, "Write hook functions must expect 3 arguments."),
        (lambda context, old, new: r.uuid(), "Could not prove function deterministic."),
        (5, "Expected type FUNCTION but found DATUM:"),
    ):
        assert refusal(table.set_write_hook(wrong))[1].startswith(told)


def test_now_in_a_write_hook_is_the_time_of_the_write(reql: Run, table: Any) -> None:
    reql(table.set_write_hook(lambda context, old, new: new.merge({"at": r.now()})))
    for key in (1, 2):
        answer = reql(table.get(key).update({"asked": r.now()}, return_changes=True))
        written = answer["changes"][0]["new_val"]
        assert written["at"] == written["asked"]


def always(value: Any) -> Callable[..., Any]:
    """The hook that makes every write write `value`."""
    return lambda context, old, new: value


def test_a_write_hook_may_not_turn_a_write_into_another(reql: Run, table: Any) -> None:
    for made, change, told in (
        (None, table.insert({"id": 3}), "A write hook function must not return `null`"),
        ({"id": 9}, table.insert({"id": 3}), "Primary key `id` cannot be changed (`null` -> `{"),
        ({"id": 9}, table.get(1).delete(), "A write hook function must return `null`"),
    ):
        reql(r.expr([made])[0].do(lambda value: table.set_write_hook(always(value))))
        answer = reql(change)
        assert counts(answer) == {"errors": 1}
        assert answer["first_error"].startswith(told)


# --- against a model ----------------------------------------------------------------------

keys = st.integers(0, 3)
documents = st.fixed_dictionaries(
    {"id": keys},
    optional={
        "n": st.integers(0, 2),
        "deep": st.dictionaries(st.sampled_from("ab"), st.integers(0, 1)),
    },
)
patches = documents.map(lambda row: {name: row[name] for name in row if name != "id"})
operations = st.one_of(
    st.tuples(st.just("insert"), st.lists(documents, min_size=1, max_size=3),
              st.sampled_from(["error", "replace", "update", "function"])),
    st.tuples(st.just("update"), keys, patches),
    st.tuples(st.just("update_all"), patches),
    st.tuples(st.just("replace"), keys, documents | st.none()),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("delete_where"), st.integers(0, 2)),
)  # fmt: skip


def merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """`patch` merged into `old`, objects field by field."""
    made = dict(old)
    for name, value in patch.items():
        both = isinstance(value, dict) and isinstance(made.get(name), dict)
        made[name] = merged(made[name], value) if both else value
    return made


class Model:
    """A table as a dict, and what each write answers about it."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}

    def put(self, key: int, new: dict[str, Any] | None) -> str:
        old = self.rows.get(key)
        if new is not None and new["id"] != key:
            return "errors"
        if old is None and new is None:
            return "skipped"
        if new is None:
            del self.rows[key]
            return "deleted"
        self.rows[key] = new
        return "inserted" if old is None else "unchanged" if old == new else "replaced"

    def insert(self, new: dict[str, Any], conflict: str) -> str:
        old = self.rows.get(new["id"])
        if old is None:
            return self.put(new["id"], new)
        if conflict == "error":
            return "errors"
        if conflict == "function":
            return self.put(new["id"], {**old, "n": old.get("n", 0) + new.get("n", 0)})
        return self.put(new["id"], merged(old, new) if conflict == "update" else new)

    def update(self, key: int, patch: dict[str, Any]) -> str:
        return self.put(key, merged(self.rows[key], patch)) if key in self.rows else "skipped"


def add_up(key: Any, old: Any, new: Any) -> Any:
    return old.merge({"n": old["n"].default(0) + new["n"].default(0)})


@settings(max_examples=60)
@given(st.lists(operations, min_size=1, max_size=8))
def test_the_write_terms_do_what_the_model_does(
    reql: Run, writable: Any, steps: list[tuple[Any, ...]]
) -> None:
    reql(writable.set_write_hook(None))
    reql(writable.delete())
    model = Model()
    for name, *arguments in steps:
        if name == "insert":
            rows, conflict = arguments
            how = add_up if conflict == "function" else conflict
            answer = reql(writable.insert(rows, conflict=how))
            told = [model.insert(row, conflict) for row in rows]
        elif name == "update":
            answer = reql(writable.get(arguments[0]).update(arguments[1]))
            told = [model.update(*arguments)]
        elif name == "update_all":
            answer = reql(writable.update(arguments[0]))
            told = [model.update(key, arguments[0]) for key in list(model.rows)]
        elif name == "replace":
            answer = reql(writable.get(arguments[0]).replace(arguments[1]))
            told = [model.put(*arguments)]
        elif name == "delete":
            answer = reql(writable.get(arguments[0]).delete())
            told = [model.put(arguments[0], None)]
        else:
            answer = reql(writable.filter({"n": arguments[0]}).delete())
            gone = [key for key, row in model.rows.items() if row.get("n") == arguments[0]]
            told = [model.put(key, None) for key in gone]
        assert counts(answer) == {what: told.count(what) for what in set(told)}
        found = {row["id"]: row for row in reql(writable)}
        assert found == model.rows
