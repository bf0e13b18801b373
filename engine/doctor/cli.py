"""The command line of the doctor. Called by engine/__main__.py."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from db.errors import SettingsError
from engine.doctor.findings import WRONG, judge
from engine.doctor.gather import gather
from engine.doctor.report import as_json, as_text
from engine.settings import EngineSettings


def main(argv: Sequence[str]) -> int:
    """0 where nothing is wrong, 1 where something is, 2 where it cannot be asked at all."""
    parser = argparse.ArgumentParser(
        prog="python -m engine doctor", description="What is wrong, and what to do about it."
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    args = parser.parse_args(argv)
    try:
        settings = EngineSettings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    findings = judge(gather(settings))
    try:
        print(as_json(findings) if args.json else as_text(findings), flush=True)
    except BrokenPipeError:
        # Whoever reads it has read enough, as `head` does; nothing is to be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if any(finding.level == WRONG for finding in findings) else 0
