"""Shards and replicas on a database of one server.

There is one server with the tag `default`; a table's shard count is remembered and shown, and what
asks for more servers than there are is refused as a cluster of one would refuse it. Used by
table_create and reconfigure.
"""

from __future__ import annotations

from typing import Any, Final

from db.embedded.datum import Datum, pretty, type_name
from db.embedded.errors import OpFailedError, QueryLogicError
from db.embedded.names import check_name

TAG: Final = "default"
MOST_SHARDS: Final = 64


def read_replicas(options: dict[str, Any]) -> int:
    """The shard count asked for, after everything said about replicas has been checked."""
    shards = options.get("shards", 1)
    if shards <= 0:
        raise QueryLogicError("Every table must have at least one shard.")
    replicas = options.get("replicas", 1)
    primary = options.get("primary_replica_tag")
    nonvoting = [_tag(tag) for tag in options.get("nonvoting_replica_tags", [])]
    counts = _replica_counts(options, replicas, primary)
    _check_counts(counts, primary or TAG, nonvoting if "replicas" in options else [])
    if shards > MOST_SHARDS:
        raise OpFailedError(f"Maximum number of shards is {MOST_SHARDS}.")
    return int(shards)


def _tag(value: Datum) -> str:
    if type(value) is not str:
        raise QueryLogicError(
            f"Expected type STRING but found {type_name(value)}:\n{pretty(value)}"
        )
    return check_name("Server tag", value)


def _replica_counts(
    options: dict[str, Any], replicas: Datum, primary: str | None
) -> dict[str, int]:
    if type(replicas) is dict:
        if primary is None:
            raise QueryLogicError(
                "`primary_replica_tag` must be specified when `replicas` is an OBJECT."
            )
        for tag, count in replicas.items():
            check_name("Server tag", tag)
            if type(count) is not int:
                raise QueryLogicError(
                    f"Expected type NUMBER but found {type_name(count)}."
                    if type(count) is not float
                    else f"Number not an integer: {pretty(count)}"
                )
            if count < 0:
                raise QueryLogicError("Can't have a negative number of replicas")
        return dict(replicas)
    if type(replicas) is not int:
        raise QueryLogicError(
            f"Expected type OBJECT or NUMBER but found {type_name(replicas)}:\n{pretty(replicas)}"
        )
    if "replicas" in options:
        for name in ("primary_replica_tag", "nonvoting_replica_tags"):
            if name in options:
                raise QueryLogicError(f"`replicas` must be an OBJECT if `{name}` is specified.")
    return {primary or TAG: replicas}


def _check_counts(counts: dict[str, int], primary: str, nonvoting: list[str]) -> None:
    if primary not in counts:
        raise OpFailedError(
            f"Can't use server tag `{primary}` for primary replicas because you specified no "
            f"replicas in server tag `{primary}`."
        )
    for tag in nonvoting:
        if tag not in counts:
            raise OpFailedError(
                f"You specified that the replicas in server tag `{tag}` should be non-voting, "
                f"but you didn't specify a number of replicas in server tag `{tag}`."
            )
    if sum(counts.values()) == 0:
        raise OpFailedError(
            "You must set `replicas` to at least one. `replicas` includes the primary replica; "
            "if there are zero replicas, there is nowhere to put the data."
        )
    for tag, count in counts.items():
        there = 1 if tag == TAG else 0
        if count > there:
            raise OpFailedError(
                f"Can't put {count} replicas on servers with the tag `{tag}` because there are "
                f"only {there} servers with the tag `{tag}`. It's impossible to have more "
                "replicas of the data than there are servers."
            )


def check_reconfigure(options: dict[str, Any], is_database: bool) -> int:
    """The shard count a reconfigure asks for; emergency repairs are refused, nothing is broken."""
    repair = options.get("emergency_repair")
    if repair is None:
        for name in ("shards", "replicas"):
            if name not in options:
                raise QueryLogicError(f"Missing required argument `{name}`.")
        return read_replicas(options)
    if repair not in ("unsafe_rollback", "unsafe_rollback_or_erase"):
        raise QueryLogicError(
            '`emergency_repair` should be "unsafe_rollback" or "unsafe_rollback_or_erase"'
        )
    if any(name != "emergency_repair" for name in options):
        raise QueryLogicError("In emergency repair mode, you can't specify shards, replicas, etc.")
    if is_database:
        raise QueryLogicError(
            "Can't emergency repair an entire database at once; instead you should run "
            "`reconfigure()` on each table individually."
        )
    raise OpFailedError("This table doesn't need to be repaired.")
