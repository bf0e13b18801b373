"""The colours: every text tone is readable (WCAG AA, 4.5:1) on what it stands on, in both themes,
and what marks a control's edge or focus has 3:1.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[3] / "webapp" / "static"
TOKENS = (STATIC / "css" / "tokens.css").read_text()
GROUNDS = ("ground", "surface", "raised", "sunken")

TEXT = [
    *((ink, ground) for ink in ("ink", "ink-soft") for ground in GROUNDS),
    *((tone, ground) for tone in ("accent", "bad") for ground in ("ground", "surface", "raised")),
    *((tone, f"{tone}-wash") for tone in ("accent", "good", "warn", "bad", "quiet")),
    *(
        (ink, f"{tone}-wash")
        for ink in ("ink", "ink-soft")
        for tone in ("accent", "good", "warn", "bad", "quiet")
    ),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-bad", "bad"),
    ("warn", "glass-raised"),
    ("glass-ink", "glass"),
    ("glass-soft", "glass"),
    ("glass-soft", "glass-raised"),
    ("glass-ink", "glass-line"),
]
EDGES = [
    *(("line-strong", ground) for ground in ("ground", "surface", "raised")),
    *(("focus", ground) for ground in GROUNDS),
    ("accent", "accent-wash"),
]
DARK_ONLY = ("glass", "glass-raised", "glass-line")


def colours(theme: str) -> dict[str, str]:
    found = {}
    for name, value in re.findall(r"--([a-z0-9-]+):\s*(light-dark\([^;]*\)|#[0-9a-f]{6});", TOKENS):
        pair = re.findall(r"#[0-9a-f]{6}", value)
        if pair:
            found[name] = pair[0] if theme == "light" else pair[-1]
    return found


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_what_it_stands_on(theme: str) -> None:
    palette = colours(theme)
    poor = {
        f"{text} on {ground}": round(contrast(palette[text], palette[ground]), 2)
        for text, ground in TEXT
        if contrast(palette[text], palette[ground]) < 4.5
        and not (theme == "light" and ground in DARK_ONLY)
    }
    assert not poor


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edges_and_focus_can_be_seen(theme: str) -> None:
    palette = colours(theme)
    poor = {
        f"{edge} on {ground}": round(contrast(palette[edge], palette[ground]), 2)
        for edge, ground in EDGES
        if contrast(palette[edge], palette[ground]) < 3
    }
    assert not poor


def test_every_variable_used_is_a_token_or_set_in_the_same_file() -> None:
    defined = set(re.findall(r"(--[a-z0-9-]+):", TOKENS))
    for sheet in sorted((STATIC / "css").glob("*.css")):
        text = sheet.read_text()
        own = set(re.findall(r"(--[a-z0-9-]+):", text))
        assert set(re.findall(r"var\((--[a-z0-9-]+)", text)) <= defined | own, sheet.name


def test_colours_are_written_only_as_tokens() -> None:
    """But for the few that lie over pictures, which have no theme."""
    allowed = {"#0a1012", "#fff", "#fffaf2", "#083e4e", "#71c6dc"}
    for sheet in sorted((STATIC / "css").glob("*.css")):
        if sheet.name != "tokens.css":
            found = set(re.findall(r"#[0-9a-f]{3,8}\b", sheet.read_text()))
            assert found <= allowed, sheet.name
