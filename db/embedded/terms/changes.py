"""The term `changes`."""

from __future__ import annotations

from typing import Any

from db.embedded.changes import DEFAULT_QUEUE_SIZE, FeedOptions
from db.embedded.datum import Datum, type_name
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.feeds import feed_of
from db.embedded.registry import term
from db.embedded.sequences import Stream


@term(
    "CHANGES",
    152,
    "any",
    deterministic=False,
    options={
        "squash": "datum",
        "changefeed_queue_size": "int",
        "include_initial": "bool",
        "include_offsets": "bool",
        "include_states": "bool",
        "include_types": "bool",
    },
)
def changes(env: Env, value: Any, **options: Any) -> Stream:
    return Stream(feed_of(value, _read_options(env, options)))


def _read_options(env: Env, options: dict[str, Datum]) -> FeedOptions:
    size = options.pop("changefeed_queue_size", env.runopts.get("changefeed_queue_size"))
    if size is None:
        size = DEFAULT_QUEUE_SIZE
    if type(size) is not int or size < 1:
        raise QueryLogicError(f"Illegal changefeed queue size `{size}`.")
    squash = options.pop("squash", False)
    if type(squash) is int:
        squash = float(squash)
    if type(squash) not in (bool, float):
        raise QueryLogicError(f"Expected BOOL or NUMBER but found {type_name(squash)}.")
    if squash < 0:
        raise QueryLogicError("Expected BOOL or a positive NUMBER but found a negative NUMBER.")
    return FeedOptions(squash=squash, queue_size=size, **options)
