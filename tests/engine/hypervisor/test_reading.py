"""What libvirt and a host's files say, read in our words. Pure."""

from __future__ import annotations

import libvirt
import pytest

from engine.hypervisor.capabilities import read_domain_capabilities, version_text
from engine.hypervisor.events import KINDS, describe_lifecycle, describe_viewer
from engine.hypervisor.profile import UNREAD, parse_profile
from engine.hypervisor.seen import STATES, read_domain
from engine.hypervisor.stats import read_domain_stats

KIND_PREFIXES = {
    0: "DEFINED",
    1: "UNDEFINED",
    2: "STARTED",
    3: "SUSPENDED",
    4: "RESUMED",
    5: "STOPPED",
    6: "SHUTDOWN",
    7: "PMSUSPENDED",
    8: "CRASHED",
}


def test_our_words_for_events_stand_at_libvirts_numbers() -> None:
    for number, prefix in KIND_PREFIXES.items():
        assert getattr(libvirt, f"VIR_DOMAIN_EVENT_{prefix}") == number
        kind, details = KINDS[number]
        assert kind == prefix.lower()
        for at, detail in enumerate(details):
            constant = f"VIR_DOMAIN_EVENT_{prefix}_{libvirt_word(detail)}"
            # A word newer than this libvirt is simply not known to it.
            assert getattr(libvirt, constant, at) == at, constant


def libvirt_word(detail: str) -> str:
    return {"crashloaded": "CRASHLOADED", "memory": "MEMORY"}.get(detail, detail.upper())


def test_our_words_for_states_stand_at_libvirts_numbers() -> None:
    for number, word in STATES.items():
        assert getattr(libvirt, f"VIR_DOMAIN_{word.upper()}") == number


def test_an_event_that_is_newer_than_we_are_still_has_a_name() -> None:
    assert describe_lifecycle("h", "u", 99, 0).kind == "event_99"
    assert describe_lifecycle("h", "u", 5, 99).detail == "detail_99"
    viewer = describe_viewer("h", "u", 0, {"node": "10.0.0.9"})
    assert viewer is not None
    assert viewer.reason == "10.0.0.9"
    assert describe_viewer("h", "u", 1, {}) is None


@pytest.mark.parametrize(
    ("text", "kvm", "why", "port"),
    [
        ('{"kvm": true, "viewer_port": 6080}', True, "KVM works", 6080),
        ('{"kvm": false, "kvm_reason": "No device."}', False, "No device.", None),
        ('{"kvm": "yes"}', False, "does not work", None),
        ("", False, "has no /etc/isard/hypervisor.json", None),
        ("{nonsense", False, "cannot be read", None),
        ("[]", False, "cannot be read", None),
    ],
)
def test_kvm_is_used_only_where_the_host_says_so(
    text: str, kvm: bool, why: str, port: int | None
) -> None:
    profile = parse_profile(f"boot-1\n77\n1000.5\nSome CPU\n---\n{text}", 1000.0)
    assert profile.kvm is kvm
    assert why in profile.kvm_reason
    assert profile.viewer_port == port
    assert profile.boot == "boot-1/77"
    assert profile.cpu_model == "Some CPU"
    assert profile.clock_ahead_s == 0.5
    assert profile.is_described is text.startswith('{"')
    assert not {"clock_ahead_s", "is_described"} & set(profile.as_info())


def test_a_host_that_was_not_asked_has_no_kvm() -> None:
    assert not UNREAD.kvm


def test_a_domain_of_somebody_else_has_no_installation() -> None:
    seen = read_domain("<domain><uuid>AB-1</uuid><metadata/><devices/></domain>", 5)
    assert (seen.uuid, seen.installation, seen.vnc_port, seen.is_active) == (
        "ab-1",
        None,
        None,
        False,
    )
    with pytest.raises(ValueError, match="cannot be read"):
        read_domain("<domain>", 1)


def test_stats_of_a_guest_whose_monitor_is_busy_are_partly_unknown() -> None:
    stats = read_domain_stats(
        {"state.state": 1, "cpu.time": 5, "net.count": 1, "net.0.rx.bytes": 9}
    )
    assert (stats.cpu_ns, stats.memory_mib, stats.net_received_bytes) == (5, None, 9)
    assert stats.disk_read_bytes is None


def test_capabilities_of_a_host_that_says_little() -> None:
    found = read_domain_capabilities("<domainCapabilities><path>/q</path></domainCapabilities>")
    assert found["graphics"] == ["vnc"]
    assert found["firmwares"] == ["bios"]
    assert found["vcpus_max"] == 1
    assert version_text(9_000_000) == "9.0.0"
    assert version_text(7_002_022) == "7.2.22"
