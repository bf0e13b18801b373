"""Every condition and reason the kernel knows has words for people."""

from __future__ import annotations

import re
from pathlib import Path

from db.media_states import MediaCondition
from db.states import (
    Activity,
    Condition,
    EnrolmentState,
    HypervisorDesired,
    HypervisorState,
    Reason,
    TaskKind,
    TaskState,
)
from db.windows import DOMAIN_METRICS, HYPERVISOR_METRICS
from webapp import payloads
from webapp.auth.permissions import ROLES
from webapp.views.words import ROLE_NAMES, WORDS

TEMPLATES = Path(__file__).parents[3] / "webapp/templates"
NUMBER_AND_NOUN = re.compile(r"\.text\([^{}]*\) \}\} [a-z]*s\b", re.IGNORECASE)
"""It would say "1 disks"."""

NO_TROUBLE = {Reason.GUEST_SHUTDOWN, Reason.POWERED_OFF, Reason.CALLED_OFF}
"""Reasons with nothing to do about them."""


def test_every_word_of_the_kernel_has_words_for_people() -> None:
    assert set(WORDS["condition"]) == {item.value for item in Condition}
    assert set(WORDS["activity"]) == {item.value for item in Activity}
    assert set(WORDS["reason"]) == {item.value for item in Reason}
    assert set(WORDS["remedy"]) == set(WORDS["reason"]) - NO_TROUBLE
    assert set(WORDS["task"]) == {item.value for item in TaskKind}
    assert set(WORDS["task_state"]) == {item.value for item in TaskState}
    healths = {"off", "degraded"}
    assert set(WORDS["host_state"]) == {item.value for item in HypervisorState} | healths
    assert set(WORDS["enrolment"]) == {item.value for item in EnrolmentState}
    assert set(WORDS["host_wish"]) == {item.value for item in HypervisorDesired}
    assert set(WORDS["media_condition"]) == {item.value for item in MediaCondition}
    assert set(ROLE_NAMES) == set(ROLES)
    assert set(WORDS["series"]) == {*DOMAIN_METRICS, *HYPERVISOR_METRICS}


def test_pages_and_api_say_the_same_of_a_condition() -> None:
    assert WORDS["condition"] == {
        condition.value: label for condition, label in payloads.CONDITION_LABELS.items()
    }


def test_no_page_counts_in_words_for_several_alone() -> None:
    assert set(WORDS["one"]) == set(WORDS["some"])
    assert not any("{" in text for text in WORDS["one"].values())
    for page in sorted(TEMPLATES.rglob("*.html")):
        found = NUMBER_AND_NOUN.findall(page.read_text())
        assert not found, f"{page.name}: {found}: use counted"
