"""`python -m engine doctor`: what is wrong and what to do about it, for a terminal.

`gather` reads (the database, the data folder; never a host, and nothing is written), `findings`
judges what was read, `report` writes it down. It works beside a running engine and without one: the
engine keeps what it found in the rows, and where it does not run that is the first finding.
"""

from __future__ import annotations

from engine.doctor.cli import main

__all__ = ["main"]
