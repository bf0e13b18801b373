"""Dialogs are described once: no template writes the frame of one again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from db.states import Condition
from tests.servers import ROOT
from tests.webapp.pages import rows
from tests.webapp.pages.test_render import Elements

TEMPLATES = ROOT / "webapp" / "templates"
FRAMES = {"parts/dialog.html": 1, "parts/confirm.html": 1}
OF_ANOTHER_KIND = {
    "viewer.html": 1,  # over a screen, with no fields to judge
    "template.html": 1,  # asks with the tree in it
    "parts/hypervisor_removal.html": 1,  # asks with lists in it
}


def test_no_template_writes_the_frame_of_a_dialog_again() -> None:
    found = {
        str(path.relative_to(TEMPLATES)): path.read_text().count("<dialog")
        for path in TEMPLATES.rglob("*.html")
    }
    written = {name: count for name, count in found.items() if count}
    assert written == FRAMES | OF_ANOTHER_KIND


def test_what_a_template_imports_of_the_parts_it_uses() -> None:
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        for names in re.findall(
            r'\{% from "parts/(?:dialog|fields)\.html" import ([^%]+) %\}', text
        ):
            for name in names.split(", "):
                assert re.search(rf"(?<!\w){name}\(", text), f"{path.name} uses {name}"


@pytest.mark.parametrize(
    "path", ["/desktops", "/desktops/{d}", "/desktops/{d}/disks", "/media", "/templates"]
)
def test_every_form_of_a_dialog_can_show_a_refusal_and_be_closed(
    path: str, page_of: Callable[[str], FlaskClient], insert: Callable[..., None]
) -> None:
    row = rows.desktop("Maths", Condition.STOPPED, "root")
    insert("domains", row)
    page = page_of("root").get(path.format(d=row["id"])).text
    dialogs = re.findall(r'<dialog [^>]*id="([\w-]+)"[^>]*>(.*?)</dialog>', page, re.DOTALL)
    assert dialogs
    for name, inside in dialogs:
        attributes = [attributes for _, attributes, _ in Elements(inside).found]
        assert f'id="{name}-title"' in inside
        assert sum("data-close" in one for one in attributes) == 2, name
        if not name.startswith("confirm-"):
            assert sum("data-problem" in one for one in attributes) == 1, name
