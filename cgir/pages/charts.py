"""Charts as SVG: two axes, and on them dots, lines, bands and marks, in the colours of the page's style sheet.

Dots of one kind are one path, each a line of no length with round ends, so that thousands of them stay small.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, log10

import numpy as np
from numpy.typing import ArrayLike

from cgir.node_text import xml_text
from cgir.typing import FloatArray

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 74, 14, 12, 46
TIPS = 300  # dots that say what they are
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """`label`, and the values at both ends."""

    label: str
    low: float
    high: float

    @classmethod
    def around(cls, label: str, values: ArrayLike, whole: bool = False) -> Axis:
        """The axis that has all finite values, with some room.

        Args:
            label: of the axis.
            values: any shape.
            whole: they are numbers of queries, from 1 on.
        """
        found = np.asarray(values, np.float64)
        found = found[np.isfinite(found)]
        low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
        if whole:
            return cls(label, 0.0, max(high, 1.0) * 1.01)
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(label, low - room, high + room)

    def ticks(self, count: int = 6) -> FloatArray:
        """Round numbers on the axis."""
        raw = (self.high - self.low) / count
        power = 10.0 ** floor(log10(raw))
        step = next(power * factor for factor in STEPS if power * factor >= 0.999 * raw)
        return step * np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1)


@dataclass
class Chart:
    """A chart to which marks are added; `svg` is the drawing."""

    x: Axis
    y: Axis
    parts: list[str] = field(default_factory=list)

    def place(self, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """Pixels (N, 2) of points; beyond an end of an axis they are at it."""
        u = (np.asarray(x, np.float64) - self.x.low) / (self.x.high - self.x.low)
        v = (np.asarray(y, np.float64) - self.y.low) / (self.y.high - self.y.low)
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return np.stack([LEFT + across * u.clip(0, 1), HEIGHT - BOTTOM - up * v.clip(0, 1)], axis=1)

    def dots(self, x: ArrayLike, y: ArrayLike, kind: str, tips: list[str] | None = None) -> None:
        """Dots at N points; those that are not finite are left out.

        Args:
            x: (N,).
            y: (N,).
            kind: class of the style sheet.
            tips: what each says when pointed at, if there are few.
        """
        points = self.place(x, y)
        if tips is not None and len(tips) <= TIPS:
            for (left, top), tip in zip(points, tips, strict=True):
                if np.isfinite(left + top):
                    self.parts.append(
                        f'<path class="{kind}" d="M{left:.1f},{top:.1f}h0"><title>{xml_text(tip)}</title></path>'
                    )
            return
        places = dict.fromkeys(f"M{left:.1f},{top:.1f}h0" for left, top in points if np.isfinite(left + top))
        if places:
            self.parts.append(f'<path class="{kind}" d="{"".join(places)}"/>')

    def errors(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str) -> None:
        """Vertical lines from `low` to `high`.

        Args:
            x: (N,).
            low: (N,).
            high: (N,).
            kind: class of the style sheet.
        """
        ends = zip(self.place(x, low), self.place(x, high), strict=True)
        path = "".join(f"M{left:.1f},{bottom:.1f}V{top:.1f}" for (left, bottom), (_, top) in ends)
        if path:
            self.parts.append(f'<path class="{kind}" d="{path}"/>')

    def diagonal(self, kind: str) -> None:
        """The line where both axes say the same."""
        low, high = max(self.x.low, self.y.low), min(self.x.high, self.y.high)
        if low < high:
            (left, bottom), (right, top) = self.place([low, high], [low, high])
            self.parts.append(f'<path class="{kind}" d="M{left:.1f},{bottom:.1f}L{right:.1f},{top:.1f}"/>')

    def crosses(self, x: ArrayLike, kind: str) -> None:
        """Crosses on the horizontal axis, of networks without a value."""
        places = dict.fromkeys(f"{left:.0f}" for left, _ in self.place(x, np.full(np.shape(x), self.y.low)))
        if places:
            y = HEIGHT - BOTTOM - 7
            path = "".join(f"M{int(left) - 3},{y - 3}l6,6m0,-6l-6,6" for left in places)
            self.parts.append(f'<path class="{kind}" d="{path}"/>')

    def steps(self, x: ArrayLike, y: ArrayLike, kind: str) -> None:
        """A line that keeps its height until the next point.

        Args:
            x: (N,).
            y: (N,).
            kind: class of the style sheet.
        """
        points = self.place(x, y)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            return
        changes = np.flatnonzero(np.append(True, np.diff(points[:, 1]) != 0))
        path = "".join(f"H{points[row, 0]:.1f}V{points[row, 1]:.1f}" for row in changes[1:])
        self.parts.append(
            f'<path class="{kind}" d="M{points[0, 0]:.1f},{points[0, 1]:.1f}{path}H{points[-1, 0]:.1f}"/>'
        )

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str) -> None:
        """The area between two lines of steps.

        Args:
            x: (N,).
            low: (N,).
            high: (N,).
            kind: class of the style sheet.
        """
        lower, upper = self.place(x, low), self.place(x, high)
        rows = np.flatnonzero(np.isfinite(lower).all(axis=1) & np.isfinite(upper).all(axis=1))
        if not len(rows):
            return
        there = "".join(f"H{upper[row, 0]:.1f}V{upper[row, 1]:.1f}" for row in rows)
        back = "".join(f"V{lower[row, 1]:.1f}H{lower[row, 0]:.1f}" for row in rows[::-1])
        self.parts.append(f'<path class="{kind}" d="M{upper[rows[0], 0]:.1f},{upper[rows[0], 1]:.1f}{there}{back}z"/>')

    def svg(self, title: str) -> str:
        """The drawing as an element of a page; `title` is for those who do not see it."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        grid, texts = [], []
        for value in self.y.ticks():
            y = self.place([self.x.low], [value])[0, 1]
            grid.append(f"M{LEFT},{y:.1f}H{right}")
            texts.append(f'<text class="y" x="{LEFT - 7}" y="{y + 4:.1f}">{number(value)}</text>')
        for value in self.x.ticks():
            x = self.place([value], [self.y.low])[0, 0]
            grid.append(f"M{x:.1f},{TOP}V{bottom}")
            texts.append(f'<text x="{x:.1f}" y="{bottom + 16}">{number(value)}</text>')
        middle = (TOP + bottom) / 2
        return "\n".join([
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{xml_text(title)}">',
            f'<path class="grid" d="{"".join(grid)}"/>', *self.parts,
            f'<path class="axis" d="M{LEFT},{TOP}V{bottom}H{right}"/>', *texts,
            f'<text class="l" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}">{xml_text(self.x.label)}</text>',
            f'<text class="l" transform="translate(14 {middle}) rotate(-90)">{xml_text(self.y.label)}</text></svg>',
        ])  # fmt: skip


def number(value: float) -> str:
    """A number in few letters: 94.37, 153M, 1.2e-05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.5g}" if abs(value) > 1e-12 else "0"
