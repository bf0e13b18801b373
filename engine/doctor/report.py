"""Writes findings down, for people or for a program. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from engine.doctor.findings import NOTE, OK, WRONG, Finding

WIDTH = 100
MARKS = {OK: "ok   ", NOTE: "note ", WRONG: "WRONG"}


def as_text(findings: Sequence[Finding]) -> str:
    """A section after the other; what to do under what is wrong."""
    lines: list[str] = []
    for section, members in groupby(findings, key=lambda finding: finding.section):
        lines += ["", section]
        for finding in members:
            lines += _lines(finding)
    wrong = sum(finding.level == WRONG for finding in findings)
    notes = sum(finding.level == NOTE for finding in findings)
    lines += ["", f"{wrong or 'Nothing'} wrong, {notes} to note."]
    return "\n".join(lines[1:])


def as_json(findings: Sequence[Finding]) -> str:
    wrong = any(finding.level == WRONG for finding in findings)
    document = {"ok": not wrong, "findings": [asdict(finding) for finding in findings]}
    return json.dumps(document, indent=2)


def _lines(finding: Finding) -> Iterator[str]:
    subject = f"{finding.subject}: " if finding.subject else ""
    yield from _wrap(f"  {MARKS[finding.level]}  ", f"{subject}{finding.message}")
    for name, value in finding.details.items():
        for number, line in enumerate(value.strip().splitlines() or [""]):
            yield f"         {name + ':' if number == 0 else '':<12}{line}"
    if finding.remedy:
        yield from _wrap("         ", f"What to do: {finding.remedy}")


def _wrap(lead: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(
        text, WIDTH - len(lead), break_long_words=False, break_on_hyphens=False
    ) or [""]
    for number, line in enumerate(lines):
        yield (lead if number == 0 else " " * len(lead)) + line
