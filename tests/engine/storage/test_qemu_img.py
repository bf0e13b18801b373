"""The command lines, tried on the real qemu-img of this machine, and its answers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.storage import qemu_img
from engine.storage.qemu_img import GIB


def run(argv: Sequence[str], *, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A name with everything a command line or qemu's own syntax could trip over."""
    made = tmp_path / 'it\'s, a "folder"$(x):y'
    made.mkdir()
    return made


def test_a_header_says_what_qemu_img_says(tmp_path: Path) -> None:
    base, top = str(tmp_path / "a base.qcow2"), str(tmp_path / "top.qcow2")
    run(qemu_img.create_empty(base, 0.25))
    run(qemu_img.create_overlay(top, base, 0.5))
    for path in (base, top):
        asked = qemu_img.parse_info(run(qemu_img.info(path)))
        read = qemu_img.parse_header(path, Path(path).read_bytes()[: qemu_img.HEADER_BYTES])
        assert (read.backing, read.virtual_size) == (asked.backing, asked.virtual_size)
    for wrong in (b"", b"QFI\xfb", b"x" * 8192, Path(top).read_bytes()[:100]):
        with pytest.raises(ValueError, match="top"):
            qemu_img.parse_header("top", wrong)


def test_overlay_of_a_base(folder: Path) -> None:
    base, top = str(folder / "base.qcow2"), str(folder / "top.qcow2")
    run(qemu_img.create_empty(base, 0.5))
    run(qemu_img.create_overlay(top, base))
    facts = qemu_img.parse_info(run(qemu_img.info(top)))
    assert (facts.path, facts.format, facts.backing, facts.backing_format) == (
        top,
        "qcow2",
        base,
        "qcow2",
    )
    assert facts.virtual_size == GIB // 2
    bigger = str(folder / "bigger.qcow2")
    run(qemu_img.create_overlay(bigger, top, 2))
    chain = qemu_img.parse_chain(run(qemu_img.info(bigger, chain=True)))
    assert [link.path for link in chain] == [bigger, top, base]
    assert [link.virtual_size for link in chain] == [2 * GIB, GIB // 2, GIB // 2]
    run(qemu_img.check(bigger))
    run(qemu_img.resize(bigger, 3 * GIB))
    assert qemu_img.parse_info(run(qemu_img.info(bigger, shared=False))).virtual_size == 3 * GIB


@pytest.mark.parametrize("source_format", ["qcow2", "raw"])
def test_a_copy_says_how_far_it_is(folder: Path, source_format: str) -> None:
    raw = folder / "source.raw"
    raw.write_bytes(bytes(range(256)) * 4096)
    source = raw
    if source_format == "qcow2":
        source = folder / "source.qcow2"
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(source)])
    copy = str(folder / "copy.qcow2")
    output = run(qemu_img.convert(str(source), source_format, copy))
    assert qemu_img.parse_progress(output.encode()) == 100.0
    back = folder / "back.raw"
    run(["qemu-img", "convert", "-O", "raw", copy, str(back)])
    assert back.read_bytes() == raw.read_bytes()


def test_a_copy_never_reads_the_backing_file_an_image_names(folder: Path) -> None:
    secret = folder / "secret.raw"
    secret.write_bytes(b"top secret" * 7000)
    image, copy = str(folder / "image.qcow2"), folder / "copy.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", image])
    facts = qemu_img.parse_info(run(qemu_img.info(image)))
    assert "based on another file" in (qemu_img.find_objection(facts) or "")
    run(qemu_img.convert(image, "qcow2", str(copy)))
    raw = folder / "raw"
    run(["qemu-img", "convert", "-O", "raw", str(copy), str(raw)])
    assert b"top secret" not in raw.read_bytes()


def test_an_image_with_its_data_elsewhere_is_objected_to(folder: Path) -> None:
    image = str(folder / "image.qcow2")
    data = folder.parent / "data.raw"
    options = f"data_file={data}"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, "1M"])
    facts = qemu_img.parse_info(run(qemu_img.info(image)))
    assert "data in another file" in (qemu_img.find_objection(facts) or "")


def test_other_formats_are_objected_to(folder: Path) -> None:
    image = str(folder / "image.vmdk")
    run(["qemu-img", "create", "-q", "-f", "vmdk", image, "1M"])
    facts = qemu_img.parse_info(run(["qemu-img", "info", "--output=json", image]))
    assert "format vmdk" in (qemu_img.find_objection(facts) or "")
    with pytest.raises(ValueError, match="not taken"):
        qemu_img.convert(image, "vmdk", "x")


def test_a_plain_image_is_not_objected_to(folder: Path) -> None:
    image = str(folder / "image.qcow2")
    run(qemu_img.create_empty(image, 1))
    assert qemu_img.find_objection(qemu_img.parse_info(run(qemu_img.info(image)))) is None


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"filename": 1}', "nonsense", "null"])
def test_an_answer_that_is_none_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match="qemu-img's answer"):
        qemu_img.parse_info(answer)


@given(st.floats(0.0000001, 65536))
def test_sizes_are_whole_sectors(size_gib: float) -> None:
    size = qemu_img.to_bytes(size_gib)
    assert size % 512 == 0
    assert 0 <= size - size_gib * GIB < 513


def test_no_size_is_no_disk() -> None:
    for size in (0, -1):
        with pytest.raises(ValueError, match="no size"):
            qemu_img.to_bytes(size)


@given(st.lists(st.integers(0, 10000), max_size=20), st.integers(1, 7))
def test_progress_in_pieces_never_goes_beyond(steps: list[int], piece: int) -> None:
    output = b"".join(b"    (%d.%02d/100%%)\r" % divmod(step, 100) for step in steps)
    found = [
        qemu_img.parse_progress(output[at : at + piece * 9])
        for at in range(0, len(output), piece * 9)
    ]
    assert all(value is None or 0 <= value <= 100 for value in found)
    assert qemu_img.parse_progress(output) == (steps[-1] / 100 if steps else None)
