"""The pages as the server draws them, for each role and in every condition."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.states import Condition, actions_of
from tests.webapp.pages import rows

PageOf = Callable[[str], FlaskClient]
Insert = Callable[..., None]

UNLABELLED = {"hidden", "radio", "checkbox"}
"""Kinds of input without a label of their own: not shown, or inside their label."""


class Elements(HTMLParser):
    """Every element of a page with its attributes and whether it, or one around it, is hidden."""

    VOID = frozenset({"meta", "link", "img", "input", "use", "br", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], bool]] = []
        self._hidden: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        around = bool(self._hidden) and self._hidden[-1]
        hidden = around or "hidden" in attributes or tag == "template"
        self.found.append((tag, attributes, hidden))
        if tag not in self.VOID:
            self._hidden.append(hidden)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._hidden.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            self._hidden.pop()


def card_of(page: str, desktop_id: str) -> str:
    """The text of one card; a card has no list inside."""
    at = page.index(f'data-id="{desktop_id}"')
    return page[page.rindex("<li", 0, at) : page.index("</li>", at)]


def shown_actions(card: str) -> set[str]:
    return {
        attributes["data-action"]
        for _, attributes, hidden in Elements(card).found
        if "data-action" in attributes and not hidden
    }


@pytest.mark.parametrize("condition", list(Condition))
def test_a_card_shows_exactly_the_actions_of_its_condition(
    condition: Condition, page_of: PageOf, insert: Insert
) -> None:
    row = rows.desktop("Maths", condition)
    insert("domains", row)
    page = page_of("ana").get("/desktops").text
    card = card_of(page, row["id"])
    assert shown_actions(card) == {action.value for action in actions_of(row)}
    assert f'data-state="{condition.value}"' in card


def test_a_card_says_why_it_waits_and_what_to_do(page_of: PageOf, insert: Insert) -> None:
    row = rows.desktop("Maths", Condition.WAITING)
    insert("domains", row)
    card = card_of(page_of("ana").get("/desktops").text, row["id"])
    for words in ("Waiting for room", "hyper-1 lacks 4 GiB", "starts by itself"):
        assert words in card


def test_the_command_that_failed_is_for_administrators(page_of: PageOf, insert: Insert) -> None:
    row = rows.desktop("Maths", Condition.FAILED)
    insert("domains", row)
    ours, theirs = page_of("ana").get("/desktops").text, page_of("root").get("/desktops").text
    assert "The network &#39;lab&#39; is not there." in card_of(ours, row["id"])
    assert "virDomainCreateXML" not in ours
    assert "virDomainCreateXML" in theirs
    assert "<b>" not in card_of(theirs, row["id"])


def test_a_name_with_markup_is_shown_as_it_is_written(page_of: PageOf, insert: Insert) -> None:
    row = rows.desktop('<script>alert(1)</script>"', Condition.STOPPED)
    insert("domains", row)
    page = page_of("ana").get("/desktops").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;</span></a></h2>" in page
    assert "<script>alert" not in page


def test_nobody_sees_another_ones_desktop(page_of: PageOf, insert: Insert) -> None:
    row = rows.desktop("Maths", Condition.STARTED, "ben")
    insert("domains", row)
    assert row["id"] not in page_of("ana").get("/desktops").text
    answer = page_of("ana").get(f"/desktops/{row['id']}/viewer")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert page_of("root").get(f"/desktops/{row['id']}/viewer").status_code == 200


def test_without_desktops_the_page_invites_to_make_one(page_of: PageOf, insert: Insert) -> None:
    insert("domains", rows.template("Office"))
    page = page_of("ana").get("/desktops").text
    shown = [attrs for _, attrs, hidden in Elements(page).found if not hidden]
    assert any(attrs.get("id") == "empty" for attrs in shown)
    assert "LibreOffice &amp; Firefox" in page


def test_without_templates_the_dialog_says_so(page_of: PageOf) -> None:
    assert "No template is shared with you" in page_of("ana").get("/desktops").text


@pytest.mark.parametrize(
    "path", ["/admin/hypervisors", "/admin/hypervisors/hyper-1", "/admin/system"]
)
def test_administration_is_for_administrators(path: str, page_of: PageOf, insert: Insert) -> None:
    insert("hypervisors", rows.hypervisor("hyper-1"))
    refused = page_of("ana").get(path)
    assert refused.status_code == 403
    assert "This is not for you to see" in refused.text
    assert path.partition("/hyper-1")[0] not in page_of("ana").get("/desktops").text
    assert page_of("root").get(path).status_code == 200


def test_a_hypervisor_shows_its_checks_in_order_with_remedies(
    page_of: PageOf, insert: Insert
) -> None:
    insert("hypervisors", rows.hypervisor("hyper-1", "error"))
    page = page_of("root").get("/admin/hypervisors/hyper-1").text
    page = page[page.index("</template>") :]
    assert page.index("The check tcp") < page.index("The check libvirt")
    assert "Start the service and check again." in page


def test_an_offered_key_is_shown_with_its_fingerprint(page_of: PageOf, insert: Insert) -> None:
    insert("hypervisors", rows.hypervisor_with_new_key("hyper-2"), rows.hypervisor("hyper-1"))
    client = page_of("root")
    for host, is_shown in (("hyper-2", True), ("hyper-1", False)):
        page = client.get(f"/admin/hypervisors/{host}").text
        hidden = next(h for _, attrs, h in Elements(page).found if "data-key" in attrs)
        assert hidden is not is_shown
    fingerprint = client.get("/admin/hypervisors/hyper-2/key").text
    assert fingerprint == rows.NEW_KEY_FINGERPRINT


def test_the_system_page_tells_what_is_down(page_of: PageOf, insert: Insert) -> None:
    insert("hypervisors", rows.hypervisor("hyper-1", "offline"))
    loops = {"watcher": {"age_s": 0.2, "restarts": 1, "healthy": True}}
    insert("engine", {"id": "ticks", "holder": "a", "loops": loops})
    insert("orphans", {"id": "o", "kind": "disk", "hypervisor": "hyper-1", "message": "No row."})
    page = page_of("root").get("/admin/system").text
    assert "No engine is at work" in page
    assert "0 of 1 online" in page
    assert "watcher" in page
    assert "No row." in page


def test_only_what_is_ours_has_a_button_to_remove_it(page_of: PageOf, insert: Insert) -> None:
    lost = {"kind": "file", "hypervisor": "hyper-1", "size": 3 << 20, "modified_at": rows.NOW}
    refused = {"state": "removed", "at": rows.NOW}
    insert(
        "orphans",
        {"id": "/pool/a", "path": "/pool/a", "ours": True, **lost},
        {"id": "hyper-1/b", "kind": "domain", "hypervisor": "hyper-1", "ours": False},
        {"id": "/pool/c", "path": "/pool/c", "ours": True, "desired": refused, **lost},
        {
            "id": "/pool/d",
            "path": "/pool/d",
            "ours": True,
            "desired": refused,
            "observed": {"for": refused, "message": "Built upon."},
            **lost,
        },
    )
    page = page_of("root").get("/admin/system").text
    buttons = {a["data-clean"] for _, a, _ in Elements(page).found if "data-clean" in a}
    assert buttons == {"/pool/a", "/pool/d"}
    for text in ("3 MiB", "It is never touched.", "Being looked at", "Built upon."):
        assert text in page


@pytest.mark.parametrize("damage", ["observed", "desired", "spec", "name"])
@pytest.mark.parametrize("nonsense", [None, 7, "x", ["x"], {"state": {"a": 1}}])
def test_a_row_full_of_nonsense_still_has_a_card(
    damage: str, nonsense: Any, page_of: PageOf, insert: Insert
) -> None:
    row = {**rows.desktop("Maths", Condition.STARTED), damage: nonsense}
    insert("domains", row)
    answer = page_of("ana").get("/desktops")
    assert answer.status_code == 200
    assert row["id"] in answer.text


def test_who_is_not_logged_in_comes_to_the_login_and_back(app: Flask) -> None:
    client = app.test_client()
    answer = client.get("/admin/system")
    assert answer.status_code == 302
    assert answer.location == "/login?next=/admin/system"
    assert 'name="next" value="/admin/system"' in client.get(answer.location).text


def test_login_with_a_wrong_password_says_so_and_keeps_the_name(app: Flask) -> None:
    client = app.test_client()
    answer = log_in(client, "ana", "not hers", "/account")
    assert answer.status_code == 401
    assert "The user name or the password is wrong." in answer.text
    assert 'value="ana"' in answer.text
    assert "not hers" not in answer.text


def test_login_leads_to_where_one_wanted_but_never_away(app: Flask) -> None:
    from tests.webapp.conftest import PASSWORDS

    for target, reached in (
        ("/account", "/account"),
        ("//evil.example/", "/desktops"),
        ("https://evil.example/", "/desktops"),
        ("/\\evil.example", "/desktops"),
        ("", "/desktops"),
        ("/login", "/desktops"),
    ):
        answer = log_in(app.test_client(), "ana", PASSWORDS["ana"], target)
        assert (answer.status_code, answer.location) == (303, reached)


def test_too_many_wrong_logins_are_told_to_wait(app: Flask) -> None:
    client = app.test_client()
    for _ in range(9):
        answer = log_in(client, "ana", "wrong")
    assert answer.status_code == 429
    assert "Too many failed logins" in answer.text
    assert int(answer.headers["Retry-After"]) > 0


def log_in(client: FlaskClient, name: str, password: str, target: str = "") -> Any:
    token = token_of(client.get("/login").text)
    form = {"csrf_token": token, "name": name, "password": password, "next": target}
    return client.post("/login", data=form)


def token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_logging_out_ends_the_session(page_of: PageOf) -> None:
    client = page_of("ana")
    token = token_of(client.get("/desktops").text)
    assert client.post("/logout", data={"csrf_token": token}).status_code == 303
    assert client.get("/desktops").status_code == 302


def test_a_form_without_its_token_is_refused(page_of: PageOf) -> None:
    client = page_of("ana")
    answer = client.post("/logout")
    assert answer.status_code == 403
    assert client.get("/desktops").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "again", "field"),
    [
        ("wrong", "a new long password", "a new long password", "current_password"),
        ("right", "short", "short", "new_password"),
        ("right", "a new long password", "another password", "again"),
    ],
)
def test_a_password_change_is_refused_at_the_field(
    current: str, new: str, again: str, field: str, page_of: PageOf
) -> None:
    from tests.webapp.conftest import PASSWORDS

    client = page_of("ana")
    form = {
        "csrf_token": token_of(client.get("/account").text),
        "current_password": PASSWORDS["ana"] if current == "right" else "wrong",
        "new_password": new,
        "again": again,
    }
    answer = client.post("/account", data=form)
    assert answer.status_code == 422
    invalid = [a["id"] for _, a, _ in Elements(answer.text).found if "aria-invalid" in a]
    assert invalid == [field]


def test_a_password_change_keeps_this_session_and_ends_the_others(page_of: PageOf) -> None:
    from tests.webapp.conftest import PASSWORDS

    here, elsewhere = page_of("ana"), page_of("ana")
    form = {
        "csrf_token": token_of(here.get("/account").text),
        "current_password": PASSWORDS["ana"],
        "new_password": "a new long password",
        "again": "a new long password",
    }
    answer = here.post("/account", data=form, follow_redirects=True)
    assert "Your password is changed" in answer.text
    assert elsewhere.get("/desktops").status_code == 302


@pytest.mark.parametrize(("cookie", "attribute"), [("dark", ' data-theme="dark"'), ("<x>", "")])
def test_the_theme_is_remembered(cookie: str, attribute: str, page_of: PageOf) -> None:
    client = page_of("ana")
    client.set_cookie("theme", cookie)
    assert f'<html lang="en"{attribute}>' in client.get("/desktops").text


def test_a_picture_depends_on_the_id_alone(app: Flask) -> None:
    client = app.test_client()
    one, again, other = (client.get(f"/art/{name}.svg") for name in ("a", "a", "b"))
    assert one.data == again.data != other.data
    assert one.mimetype == "image/svg+xml"
    assert "immutable" in one.headers["Cache-Control"]
    assert b"<script" not in client.get("/art/%3Cscript%3E.svg").data


@pytest.mark.parametrize("user", ["ana", "root"])
def test_every_page_names_its_controls_and_landmarks(
    user: str, page_of: PageOf, showroom: list[dict[str, Any]]
) -> None:
    client = page_of(user)
    paths = ["/desktops", "/account", f"/desktops/{showroom[0]['id']}/viewer"]
    if user == "root":
        paths += ["/admin/hypervisors", "/admin/hypervisors/hyper-2", "/admin/system"]
    for path in paths:
        page = client.get(path).text
        elements = Elements(page).found
        ids = [attrs["id"] for _, attrs, _ in elements if "id" in attrs]
        assert len(ids) == len(set(ids)), f"{path}: an id is there twice"
        labelled = {attrs["for"] for tag, attrs, _ in elements if tag == "label" and "for" in attrs}
        for tag, attrs, _ in elements:
            for name in ("aria-labelledby", "aria-describedby", "popovertarget"):
                for target in attrs.get(name, "").split():
                    assert target in ids, f"{path}: {name}={target}"
            if tag == "input" and not ({attrs.get("type"), *attrs} & UNLABELLED):
                assert attrs.get("id") in labelled, f"{path}: {attrs}"
            if tag == "img":
                assert "alt" in attrs, f"{path}: {attrs}"
        tags = [tag for tag, _, _ in elements]
        assert tags.count("main") == 1
        assert tags.count("h1") == 1
