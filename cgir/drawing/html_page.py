"""One self-contained HTML page: data as JSON, and the style sheet and script in `page/`, which draw it.

Names of a graph are a stranger's text. They reach the page as JSON in which no character can end the element, the
script puts them into text nodes alone, and the page's own policy lets no other script run, nor anything be loaded.
"""

from __future__ import annotations

import html
import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from cgir.node_text import COLORS

FOLDER = Path(__file__).parent / "page"
SCRIPTS = ("model", "layout", "scene", "colors", "view", "panel", "search", "page")
STEPS = 20  # of a scale of colours, as in colors.js


def page(title: str, data: dict[str, Any], start: str = "start") -> str:
    """The text of a page.

    Args:
        title: of the document.
        data: what its script reads.
        start: the script of `page/` that builds it.
    """
    style = (FOLDER / "page.css").read_text(encoding="utf-8") + _fills()
    parts = ((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in (*SCRIPTS, start))
    script = "".join(part.replace('"use strict";\n', "", 1) for part in parts)
    script = f'"use strict";\n{script}'
    policy = f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style></head><body>\n"
        f'<script type="application/json" id="graph">{_inline_json(data)}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _inline_json(data: dict[str, Any]) -> str:
    """JSON of ASCII characters, in which nothing is markup."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fills() -> str:
    """Rules for the colours of operators, and of the steps of both scales."""
    rules = [
        f".k-{name}{{--fill:color-mix(in srgb,{color} var(--share),var(--paper))}}" for name, color in COLORS.items()
    ]
    for letter, hue in (("s", "blue"), ("n", "red")):
        for step in range(STEPS + 1):
            share = 200 * step / STEPS
            for selector, pale in ((f".{letter}{step}", "pale"), (f":is(.edge,.arrow).{letter}{step}", "pale-edge")):
                ends = (f"--{hue}", f"--{pale}") if share <= 100 else (f"--strong-{hue}", f"--{hue}")
                mixed = f"var({ends[0]}) {share if share <= 100 else share - 100:g}%,var({ends[1]})"
                rules.append(f"{selector}{{--fill:color-mix(in srgb,{mixed})}}")
            if share > 100:
                color = "on-first" if step == 11 else "on-middle" if step < 15 else "on-strong"
                rules.append(f".drawing .on-{letter}{step}{{fill:var(--{color})}}")
    return "\n".join(rules)
