"""Reading what is written to a system table: fields that must be there, and no others."""

from __future__ import annotations

from db.embedded.datum import Datum, pretty, type_name
from db.embedded.errors import OpFailedError, QueryLogicError

Row = dict[str, Datum]


def check_only(row: Row, *fields: str) -> None:
    unknown = sorted(set(row) - set(fields))
    if unknown:
        raise OpFailedError("Unexpected key(s) `" + "`, `".join(unknown) + "`.")


def string_field(row: Row, field: str) -> str:
    value = row.get(field)
    if type(value) is not str:
        raise QueryLogicError(
            f"Expected a string for `{field}`, got "
            f"{type_name(value) if field in row else 'nothing'}."
        )
    return value


def one_of(row: Row, field: str, options: tuple[str, ...], default: str) -> str:
    value = row.get(field, default)
    if value not in options:
        raise OpFailedError(
            f"Expected one of {', '.join(options)} for `{field}`, got {pretty(value)}."
        )
    return str(value)
