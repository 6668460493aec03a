"""Public names, each with the module that defines it: what a change adds, moves or takes away shows in one file.

After a change that is meant: `python tests/test_public_api.py` writes the file anew.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import cgir
import contrastive
import encoders
import frontends
import search

GOLDEN = Path(__file__).resolve().parent / "data" / "public_api.txt"
PACKAGES = (cgir, frontends, encoders, contrastive, search)
# What scripts outside rely on beyond the packages themselves; README and documentation import from these.
MODULES = (
    "cgir.errors", "frontends.spaces", "frontends.tables", "frontends.reference", "frontends.spaces.space",
    "frontends.spaces.cell", "encoders.metrics",
)  # fmt: skip


def public_names() -> list[str]:
    """`package.name module`, sorted; of a module that is handed on, its own name."""
    lines = []
    for module in (*PACKAGES, *map(importlib.import_module, MODULES)):
        for name, value in ((name, getattr(module, name)) for name in dir(module)):
            if name.startswith("_") or name == "TYPE_CHECKING" or isinstance(value, ModuleType | TypeVar):
                continue
            home = getattr(value, "__module__", None) or module.__name__
            if home == module.__name__ or home.startswith(f"{module.__name__}."):
                lines.append(f"{module.__name__}.{name} {home}")
    return sorted(set(lines))


def test_public_names_are_those_written_down() -> None:
    assert public_names() == GOLDEN.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(public_names()) + "\n", encoding="utf-8")
