"""A quiet picture for what has no screen to show: mountains drawn from the id, always the same.

A desktop that is off and a template have no screenshot. Instead of one grey box for all, each id
gets its own ridge lines, sky and hour of the day, so that people find their desktop by its look.
Pure: text in, SVG out; the view `pages.art` serves it for ever (an id's picture never changes).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 300


@dataclass(frozen=True)
class Hour:
    """A light: the sky from top to horizon, the sun, and the ridges from far to near."""

    sky: tuple[str, str]
    sun: str
    ridges: tuple[str, str, str, str]


HOURS = (
    Hour(("#0e4a5e", "#e8a07f"), "#ffd9b8", ("#8a8586", "#4f6a74", "#24505f", "#0a2c38")),
    Hour(("#2c7f96", "#cfe6df"), "#fff6dd", ("#8fb8b8", "#5d959b", "#2f6b76", "#123f4a")),
    Hour(("#3b3f70", "#d98a94"), "#ffd1c2", ("#8c7a9c", "#5e5883", "#3a3c66", "#1b1f40")),
    Hour(("#0b1d33", "#31566f"), "#e9f0f2", ("#33566b", "#244256", "#162e41", "#0a1b2a")),
    Hour(("#3f7d5c", "#f0dfae"), "#fff3cf", ("#a3b58a", "#6d956f", "#3d6f55", "#174234")),
    Hour(("#6a4a3c", "#f2c48d"), "#fff0cf", ("#b58f74", "#8a6552", "#5c4340", "#2e2428")),
    Hour(("#38558c", "#dfe0ee"), "#ffffff", ("#9daac9", "#6a7fae", "#43598a", "#1d2f58")),
)


def draw_landscape(seed: str) -> str:
    """An SVG of 480 by 300 that depends on `seed` alone."""
    dice = hashlib.sha256(seed.encode("utf-8", "replace")).digest()
    hour = HOURS[dice[0] % len(HOURS)]
    sun_x = 60 + dice[1] * 360 // 255
    sun_y = 70 + dice[2] * 80 // 255
    sun_r = 18 + dice[3] * 22 // 255
    ridges = "".join(
        f'<path fill="{colour}" d="{_ridge(dice[4 + 6 * i : 10 + 6 * i], i)}"/>'
        for i, colour in enumerate(hour.ridges)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' preserveAspectRatio="xMidYMid slice"><defs>'
        '<linearGradient id="s" x1="0" y1="0" x2="0" y2="1">'
        f'<stop offset="0" stop-color="{hour.sky[0]}"/>'
        f'<stop offset=".78" stop-color="{hour.sky[1]}"/></linearGradient></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#s)"/>'
        f'<circle cx="{sun_x}" cy="{sun_y}" r="{sun_r}" fill="{hour.sun}" opacity=".9"/>'
        f"{ridges}</svg>"
    )


def _ridge(dice: bytes, depth: int) -> str:
    """One ridge line: three waves of its own, rougher in the distance, lower in front."""
    base = 150 + depth * 36
    phases = [byte / 255 * 2 * math.pi for byte in dice[:3]]
    heights = (34 - depth * 3, 15, 7)
    lengths = [1.1 + dice[3] / 255, 2.6 + dice[4] / 128, 6.5 + dice[5] / 64]
    points = []
    for step in range(25):
        x = step / 24
        lift = sum(
            height * _peak(length * x * 2 * math.pi + phase)
            for height, length, phase in zip(heights, lengths, phases, strict=True)
        )
        points.append(f"{x * WIDTH:.0f} {base - lift:.1f}")
    return f"M0 {HEIGHT}L{'L'.join(points)}L{WIDTH} {HEIGHT}z"


def _peak(angle: float) -> float:
    """A wave with pointed tops: mountains, not hills."""
    return 1 - 2 * abs(math.sin(angle / 2)) ** 0.8
