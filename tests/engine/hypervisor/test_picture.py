"""Old QEMU's pixmaps become PNG; pillow, which knows both, is the judge."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.hypervisor.picture import to_png


@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_pixmap_keeps_its_pixels(width: int, height: int, data: st.DataObject) -> None:
    size = width * height * 3
    pixels = data.draw(st.binary(min_size=size, max_size=size))
    png = to_png(b"P6\n%d %d\n255\n" % (width, height) + pixels)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert picture.size == (width, height)
        assert picture.convert("RGB").tobytes() == pixels


def test_a_png_stays_as_it_is() -> None:
    png = to_png(b"P6 1 1 255 abc")
    assert to_png(png) is png


@pytest.mark.parametrize(
    "broken", [b"", b"GIF89a", b"P6 2 2 255 abc", b"P6 x y 255 ", b"P5 1 1 255 a"]
)
def test_anything_else_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="screen"):
        to_png(broken)
