"""The checks of a hypervisor, in the order a person would make them, each with what was found and
what to do.

A table says what is checked, what must have passed before, and which of the host's healths it
affects; a check whose condition failed is left out, so the list ends with the cause and not with
its consequences. Everything is tried the way the engine will do it: the same SSH, the same libvirt
connection. What only degrades the host is a warning. Called by the hypervisor unit when a host is
enabled, and by the button on its page; `on_check` lets the page show them one by one.

One file a subject; to add a check is to add a line to its table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from db.hypervisor_documents import HypervisorCheck
from engine.errors import EngineError, HostLost
from engine.hypervisor.checks import certificates, disks, reaching, storage, viewers, virtualization
from engine.hypervisor.checks.visit import (
    FAILED,
    OK,
    STORAGE,
    WARNING,
    Check,
    Finding,
    Visit,
    failed,
)

__all__ = ["FAILED", "OK", "STORAGE", "WARNING", "path_of", "run_checks"]


def run_checks(
    visit: Visit,
    pool_paths: Mapping[str, str | None],
    *,
    on_check: Callable[[HypervisorCheck], None],
) -> list[HypervisorCheck]:
    """All checks that can be made, in order; the visit is ended with them. What is wrong with the
    host is the result. Raises HostLost only where it let us in and then fell silent: each check
    that is left would wait for it in vain.

    `pool_paths`: storage path -> the id recorded for it (None: never used).
    """
    done: list[HypervisorCheck] = []
    try:
        for check in choose(visit.capabilities, pool_paths):
            passed = {entry["name"] for entry in done if entry["level"] != FAILED}
            if not passed.issuperset(check.needs):
                continue
            result = _make(check, visit, is_in="login" in passed)
            done.append(result)
            on_check(result)
    finally:
        visit.end()
    return done


def choose(
    capabilities: Mapping[str, bool], pool_paths: Mapping[str, str | None]
) -> Iterator[Check]:
    """What a host of this kind is asked for."""
    runs_guests = capabilities.get("hypervisor", False)
    yield from reaching.CHECKS
    if runs_guests:
        yield from virtualization.CHECKS
        yield from certificates.CHECKS
        yield from viewers.CHECKS
    if capabilities.get("disk_operations", False):
        yield from disks.CHECKS
    for path, recorded in pool_paths.items():
        yield storage.check_of(path, recorded)


def path_of(check: HypervisorCheck) -> str:
    """The path that a storage check was about."""
    return check["name"].removeprefix(storage.PREFIX)


def _make(check: Check, visit: Visit, *, is_in: bool) -> HypervisorCheck:
    started = time.monotonic()
    try:
        found = check.look(visit)
    except HostLost as error:
        if is_in:
            visit.ask_sign_of_life()
        found = _explain(check, error)
    except EngineError as error:
        found = _explain(check, error)
    level = WARNING if found.level == FAILED and check.only_warns else found.level
    return HypervisorCheck(
        name=check.name,
        title=check.title,
        ok=level == OK,
        level=level,
        message=found.message,
        remedy="" if level == OK else found.remedy,
        duration_ms=round((time.monotonic() - started) * 1000, 1),
        affects=check.affects,
    )


def _explain(check: Check, error: EngineError) -> Finding:
    """For a check that ended with an error instead of a finding."""
    said = error.answer and error.answer not in error.message
    message = f"{error.message} ({error.answer})" if said else error.message
    return failed(message, check.remedy or "Check again; if it stays, look at the host's own log.")
