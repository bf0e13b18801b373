"""The rules by which elements take their content from a payload, on the server's side."""

from __future__ import annotations

import pytest

from webapp.views.bindings import Bindings, fill_rule, holds, read_path

PAYLOAD = {
    "id": "a/b c",
    "name": "<b>Maths</b>",
    "actions": ["start", "delete"],
    "condition": "stopped",
    "observed": {"failure": None, "reason": "GuestShutdown", "message": "", "count": 0},
    "spec": {"memory_mib": 1536, "disks": [{}, {}]},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("condition", "stopped"),
        ("observed.reason", "GuestShutdown"),
        ("observed.failure.reason|observed.reason", "GuestShutdown"),
        ("observed.count", 0),
        ("spec.disks.length", 2),
        ("observed.message", None),
        ("no.such.path", None),
        ("condition.deeper", None),
    ],
)
def test_a_path_reads_the_first_value_that_is_not_empty(path: str, expected: object) -> None:
    assert read_path(PAYLOAD, path) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("actions has start", True),
        ("actions has view", False),
        ("condition = stopped failed", True),
        ("condition = started", False),
        ("observed.failure", False),
        ("!observed.failure", True),
        ("!actions has start", False),
        ("name has start", False),
    ],
)
def test_a_condition_is_judged(condition: str, expected: bool) -> None:
    assert holds(PAYLOAD, condition) is expected


def test_a_pattern_is_whole_or_absent_and_encoded_in_addresses() -> None:
    assert fill_rule(PAYLOAD, "href", "/desktops/{id}/viewer") == "/desktops/a%2Fb%20c/viewer"
    assert fill_rule(PAYLOAD, "aria-label", "Open {name}") == "Open <b>Maths</b>"
    assert fill_rule(PAYLOAD, "href", "/x/{missing}") is None


def test_markup_in_a_payload_stays_text() -> None:
    b = Bindings(PAYLOAD)
    assert b.text("name", "h2") == '<h2 data-text="name">&lt;b&gt;Maths&lt;/b&gt;</h2>'
    assert '"Open &lt;b&gt;Maths&lt;/b&gt;"' in b.set(aria_label="Open {name}")


def test_formats_and_words() -> None:
    b = Bindings(PAYLOAD)
    assert ">1.5 GiB<" in b.text("spec.memory_mib", fmt="memory")
    assert ">Stopped<" in b.word("condition", "condition")
    assert b.word("reason", "observed.failure.reason", "p").endswith("></p>")


def test_what_is_counted_is_said_of_one_and_of_several() -> None:
    b = Bindings({"rest": 0, "disks": 1, "hosts": ["h1", "h2"]})
    assert b.counted("disk", "disks") == '<span data-counted="disk disks">1 disk</span>'
    assert ">2 hypervisors<" in b.counted("hypervisor", "hosts.length")
    assert ">0 disks<" in b.counted("disk", "rest")
    assert "></span>" in b.counted("disk", "nowhere")


def test_what_is_not_so_is_hidden() -> None:
    b = Bindings(PAYLOAD)
    assert b.show("actions has start") == 'data-show="actions has start"'
    assert b.show("actions has view").endswith(" hidden")
    assert b.set(src="observed.failure") == 'data-set="src observed.failure"'
