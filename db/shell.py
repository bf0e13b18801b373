"""`python -m db shell`: Python with `r` and a connection `conn`, for administrators.

Who may run it may do anything with this database, so what is typed is simply run. With `-c` a line
is run instead of asking for some, and what it yields is printed; scripts and `docker exec` use it
so.
"""

from __future__ import annotations

import code
from typing import Any

from db.connection import Database, r


def interact(database: Database) -> None:
    names, greeting = _names(database)
    code.interact(greeting, local=names, exitmsg="")


def run_line(database: Database, line: str) -> Any:
    """What an expression yields (a sequence as a list), or None after statements. Raises what the
    line raises.
    """
    names, _greeting = _names(database)
    try:
        wanted = compile(line, "<-c>", "eval")
    except SyntaxError:
        exec(compile(line, "<-c>", "exec"), names)  # noqa: S102 - an administrator's own line
        return None
    answer = eval(wanted, names)  # noqa: S307 - likewise
    return list(answer) if hasattr(answer, "next") else answer


def _names(database: Database) -> tuple[dict[str, Any], str]:
    settings = database.settings
    connection = database.connect()
    return {"r": r, "conn": connection}, (
        f"`r` and `conn` are there: database {settings.db_name!r} at "
        f"{settings.db_host}:{settings.db_port}. Ctrl+D leaves."
    )
