"""Terms that read tables: db, table, get, get_all, between and what limits them."""

from __future__ import annotations
