"""The house rules that a machine can check: walls between parts, sizes, and a word on top of each
file.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

CODE = ("db", "engine", "webapp", "local", "hyper_image", "tests")
TOO_LONG = 600


def list_python() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout.splitlines()
    return [ROOT / name for name in tracked if (ROOT / name).exists()]


def test_the_walls_between_the_parts_stand() -> None:
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_no_file_is_too_long() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in list_python()}
    assert {str(path.relative_to(ROOT)): n for path, n in sizes.items() if n > TOO_LONG} == {}


@pytest.mark.parametrize("folder", CODE)
def test_every_module_says_what_it_is(folder: str) -> None:
    modules = [path for path in list_python() if path.relative_to(ROOT).parts[0] == folder]
    assert modules
    silent = [
        str(path.relative_to(ROOT))
        for path in modules
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
