"""What pages refer to is there, and nothing in them is inline (the content security policy forbids
it).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEBAPP = Path(__file__).resolve().parents[3] / "webapp"
STATIC, TEMPLATES = WEBAPP / "static", WEBAPP / "templates"
SCRIPTS = sorted(STATIC.glob("js/**/*.js"))
PAGES = sorted(TEMPLATES.glob("**/*.html"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_nothing_is_inline(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"\sstyle\s*=", text)
    assert "<style" not in text
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert "javascript:" not in text
    for tag in re.findall(r"<script[^>]*>", text):
        assert 'type="application/json"' in tag or "src=" in tag


def test_static_files_named_in_templates_exist() -> None:
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r"filename='([^']+\.[a-z0-9]+)'", text):
            assert (STATIC / name).is_file(), f"{page.name}: {name}"
        for group in re.findall(r"for sheet in \[([^\]]*)\]", text):
            for sheet in re.findall(r'"([^"]+)"', group):
                assert (STATIC / "css" / f"{sheet}.css").is_file(), f"{page.name}: {sheet}.css"


def test_every_style_sheet_is_used() -> None:
    used = "".join(page.read_text() for page in PAGES)
    for sheet in STATIC.glob("css/*.css"):
        assert f'"{sheet.stem}"' in used or f"css/{sheet.name}" in used, sheet.name


def test_icons_named_anywhere_are_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([a-z_]+)"', (STATIC / "icons.svg").read_text()))
    for page in PAGES:
        for name in re.findall(r'icon\("([a-z_]+)"\)', page.read_text()):
            assert name in sprite, f"{page.name}: {name}"
    for script in SCRIPTS:
        for name in re.findall(r'"#([a-z_]+)"', script.read_text()):
            assert name in sprite, f"{script.name}: {name}"


def test_scripts_import_what_is_there() -> None:
    for script in SCRIPTS:
        for name in re.findall(r'from "(\.[^"]+)"|import "(\.[^"]+)"', script.read_text()):
            target = (script.parent / (name[0] or name[1])).resolve()
            assert target.is_file(), f"{script.name}: {target}"


def test_style_sheets_name_files_that_are_there() -> None:
    for sheet in STATIC.glob("css/*.css"):
        for name in re.findall(r'url\("([^"]+)"\)', sheet.read_text()):
            assert (sheet.parent / name).resolve().is_file(), f"{sheet.name}: {name}"


def test_scripts_say_only_words_that_are_there() -> None:
    from webapp.views.words import WORDS

    for script in SCRIPTS:
        text = script.read_text()
        for key in re.findall(r'\bsay\("([a-z_]+)"', text):
            assert key in WORDS["says"], f"{script.name}: {key}"
        for table, key in re.findall(r'\bwords\("([a-z_]+)", "([a-z_]+)"\)', text):
            assert key in WORDS[table], f"{script.name}: {table}.{key}"


def test_only_what_is_listed_is_served_of_packages(tmp_path: Path) -> None:
    from webapp.vendor import SERVED, copy_vendor

    modules = tmp_path / "node_modules"
    for name in SERVED:
        target = modules / name
        is_folder = name.endswith(("/core", "/vendor"))
        (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
        (target / "x.js" if is_folder else target).write_text("// x")
    (modules / "socket.io-client/dist/other.js").write_text("// not served")
    served = tmp_path / "vendor"
    served.mkdir()
    (served / "old.js").write_text("// from an older version")
    copy_vendor(modules, served)
    assert not (served / "old.js").exists()
    assert {path.name for path in served.iterdir()} == {
        name.partition("/")[0] for name in SERVED.values()
    }


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    from webapp.vendor import copy_vendor

    served = tmp_path / "vendor"
    served.mkdir()
    (served / "old.js").write_text("// still served")
    with pytest.raises(FileNotFoundError, match="novnc"):
        copy_vendor(tmp_path / "node_modules", served)
    assert (served / "old.js").exists(), "what was served before must stay"
