"""Queries evaluated in this process: what needs no server, and what only ours has."""

from __future__ import annotations

import json
from typing import Any

from rethinkdb import RethinkDB
from rethinkdb.ast import ReQLEncoder

import db.embedded.terms  # noqa: F401  (fills the registry)
from db.embedded.compiler import compile_query
from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.sequences import Sequence
from db.embedded.values import as_datum

r = RethinkDB()


def evaluate(query: Any, **options: Any) -> Datum:
    """What a driver's query yields, evaluated here without a server."""
    raw = json.loads(ReQLEncoder().encode(r.expr(query)))
    return evaluate_term(raw, **options)


def evaluate_term(raw: Any, **options: Any) -> Datum:
    env = Env(runopts=options)
    value = compile_query(raw).run([env])
    if isinstance(value, Sequence):
        return env.collect(value.rows(env))
    return as_datum(env, value)
