"""Every reason that is trouble says what to do; those that are none say nothing."""

from __future__ import annotations

from db.remedies import REMEDIES, remedy_for
from db.states import Reason

NO_TROUBLE = {Reason.GUEST_SHUTDOWN, Reason.POWERED_OFF, Reason.CALLED_OFF}


def test_every_reason_has_a_remedy_or_is_no_trouble() -> None:
    assert set(REMEDIES) == set(Reason) - NO_TROUBLE
    for remedy in REMEDIES.values():
        assert remedy.owner.endswith(".")
        assert remedy.administrator.endswith(".")


def test_an_owner_is_told_no_commands_and_no_paths() -> None:
    for reason in REMEDIES:
        told = remedy_for(reason, administrator=False) or ""
        assert "/" not in told
        assert "--" not in told


def test_a_word_nobody_knows_has_none() -> None:
    for value in ("NoSuchReason", None, 5, ["InvalidRow"]):
        assert remedy_for(value, administrator=True) is None
