"""Legend of a drawing shaded by importance: two colour bars with their ranges."""

from __future__ import annotations

from cgir.node_text import xml_text

from .importance import Scale, Shading

WIDTH, HEIGHT = 420, 66  # of the legend, in pixels
LEFT, ROW, BAR, STEPS = 12, 16, 120, 15


def legend(shading: Shading, single: bool) -> list[str]:
    """SVG elements at y from -HEIGHT to 0; `single`: every box is one node."""
    signed = shading.node_scale.signed
    meaning = "blue raises the score, red lowers it; darker: more" if signed else "darker: more important"
    caption = f"{shading.caption}; {meaning}" if shading.caption else meaning
    strongest = "" if single else "; in blocks the strongest"
    return [
        _text(LEFT, 16 - HEIGHT, caption, 11),
        *_bar(shading.node_scale, f"nodes{strongest}", 0),
        *_bar(shading.edge_scale, "edges", 1),
    ]


def _bar(scale: Scale, name: str, row: int) -> list[str]:
    y = 24 - HEIGHT + ROW * row
    step = (scale.high - scale.low) / (STEPS - 1)
    x, width = LEFT + 58, BAR / STEPS
    swatches = [
        f'<rect class="legend" x="{x + width * i:.1f}" y="{y}" width="{width + 0.3:.1f}" height="10" '
        f'fill="{scale.color(scale.low + step * i)}" style="stroke:none"/>'
        for i in range(STEPS)
    ]
    frame = f'<path d="M{x},{y} h{BAR} v10 h-{BAR} z" fill="none" stroke="#888" stroke-width="0.6"/>'
    return [
        _text(x - 6, y + 9, f"{scale.low:.3g}", 10, "end"),
        *swatches,
        frame,
        _text(x + BAR + 6, y + 9, f"{scale.high:.3g}  {name}", 10),
    ]


def _text(x: float, y: float, text: str, points: int, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" font-size="{points}" style="text-anchor:{anchor}">{xml_text(text)}</text>'
