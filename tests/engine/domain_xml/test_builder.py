"""The domain XML of named desktops is compared with files; ISARD_REGENERATE=1 writes them anew
(then read the diff).
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain_xml.builder import DiskFile, DomainRequest, MediaFile, build_domain_xml
from engine.domain_xml.domain import ELEMENTS, METADATA_URI, Domain
from engine.domain_xml.properties import NOT_XML, Element
from engine.errors import Terminal
from engine.hypervisor.seen import read_domain
from tests.engine.domain_xml.requests import CASES, PLAIN, with_spec

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "domain_xml"

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)
HOSTILE = st.one_of(
    TEXT, st.sampled_from(["'", '"', "$(id)", "`id`", "a\nb", "../..", "<x>&amp;]]>", "%s", "\\"])
)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    xml = build_domain_xml(CASES[case])
    file = GOLDEN / f"{case}.xml"
    if os.environ.get("ISARD_REGENERATE"):
        file.write_text(xml)
    assert xml == file.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.glob("*.xml")} == set(CASES)


def test_every_declared_property_is_written_by_some_case() -> None:
    used: set[tuple[str, str]] = set()
    for request in CASES.values():
        root = ElementTree.fromstring(build_domain_xml(request))
        for kind in ELEMENTS:
            nodes = [root] if kind is Domain else list(root.iter(kind.TAG))
            for node in nodes:
                used.update((kind.TAG, name) for name in kind(node).values())
    declared = {(kind.TAG, name) for kind in ELEMENTS for name in kind.properties()}
    assert declared - used == set()


def test_every_declared_property_reads_what_it_wrote() -> None:
    samples: dict[str, Any] = {"number": 7, "text": 'a "b" <c>', "yes_no": True, "Flag": True}
    for kind in ELEMENTS:
        for name, declared in kind.properties().items():
            value = next(sample for sample in samples.values() if _accepts(kind, name, sample))
            element = kind(**{name: value})
            read = kind(ElementTree.fromstring(element.to_xml()))
            assert getattr(read, name) == value, (kind, declared.path)
            setattr(read, name, None)
            assert read.values() == {}
            assert len(read.node) == 0


def _build_unless_refused(request: DomainRequest) -> str | None:
    """None where XML cannot carry one of the texts; then that must be what is said."""
    # Of a name only the words are used.
    texts = [" ".join(request.name.split()), request.installation, request.revision]
    texts += [disk.path for disk in request.disks]
    if any(NOT_XML.search(text) for text in texts):
        with pytest.raises(Terminal, match="cannot be in XML"):
            build_domain_xml(request)
        return None
    return build_domain_xml(request)


def _accepts(kind: type[Element], name: str, sample: Any) -> bool:
    """Whether this sample comes back as itself: the declared type's own does."""
    try:
        element = kind(**{name: sample})
        return bool(getattr(element, name) == sample)
    except ValueError:
        return False


@given(name=HOSTILE, installation=HOSTILE, revision=HOSTILE)
def test_texts_stay_texts(name: str, installation: str, revision: str) -> None:
    request = replace(PLAIN, name=name, installation=installation, revision=revision)
    xml = _build_unless_refused(request)
    if xml is None:
        return
    shape = [node.tag for node in ElementTree.fromstring(xml).iter()]
    assert shape == [node.tag for node in ElementTree.fromstring(build_domain_xml(PLAIN)).iter()]
    title = ElementTree.fromstring(xml).findtext("title") or ""
    assert "\n" not in title
    seen = read_domain(xml, 1)
    # XML makes line ends within attributes and texts uniform; nothing else may change.
    assert (seen.installation or "") == installation
    assert (seen.revision or "") == revision


@given(path=HOSTILE)
def test_disk_paths_stay_paths(path: str) -> None:
    request = replace(PLAIN, disks=[DiskFile("disk0", "/" + path)])
    xml = _build_unless_refused(request)
    if xml is None:
        return
    root = ElementTree.fromstring(xml)
    assert [source.attrib for source in root.iter("source")] == [
        {"file": "/" + path},
        {"network": "default"},
    ]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (replace(PLAIN, id="../x"), "UUID"),
        (replace(PLAIN, console_password=""), "password"),
        (replace(PLAIN, console_password="nine-char"), "password"),
        (replace(PLAIN, console_password="123456789"), "password"),
        (replace(PLAIN, accelerator="xen"), "accelerator"),
        (replace(PLAIN, cpu_mode="<cpu/>"), "CPU mode"),
        (replace(PLAIN, disks=[DiskFile("disk0", "relative.qcow2")]), "absolute"),
        (replace(PLAIN, disks=[DiskFile("a b", "/x.qcow2")]), "device's id"),
        (replace(PLAIN, disks=[DiskFile("a", "/x.qcow2", bus="usb")]), "bus"),
        (replace(PLAIN, media=[MediaFile("a'b", "/x.iso")]), "device's id"),
        (replace(PLAIN, name="bell\x07"), "character"),
        (with_spec(video="cga"), "video"),
        (with_spec(secure_boot=True), "secure boot"),
        (with_spec(sound="beep"), "sound"),
        (with_spec(boot=["tape"]), "boot"),
    ],
)
def test_what_cannot_be_is_refused(request_: DomainRequest, why: str) -> None:
    with pytest.raises(Terminal, match=why) as raised:
        build_domain_xml(request_)
    assert raised.value.reason == "InvalidRow"


def test_the_password_is_not_in_the_requests_text() -> None:
    assert PLAIN.console_password not in repr(PLAIN)


def test_metadata_says_whose_it_is() -> None:
    root = ElementTree.fromstring(build_domain_xml(PLAIN))
    mark = root.find(f"./metadata/{{{METADATA_URI}}}domain")
    assert mark is not None
    assert mark.attrib == {"installation": PLAIN.installation, "revision": "7"}


def test_disks_beyond_the_alphabet_are_counted_on() -> None:
    many = [DiskFile(f"d{at}", f"/pool/{at}.qcow2") for at in range(29)]
    root = ElementTree.fromstring(build_domain_xml(replace(PLAIN, disks=many)))
    names = [target.attrib["dev"] for target in root.iterfind("./devices/disk/target")]
    assert names[0] == "vda"
    assert names[25:29] == ["vdz", "vdaa", "vdab", "vdac"]
    orders = [int(boot.attrib["order"]) for boot in root.iterfind("./devices/disk/boot")]
    assert orders == list(range(1, 30))
