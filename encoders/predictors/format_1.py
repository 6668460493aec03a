"""Descriptions of predictors saved in format 1, in the words of format 2; `checkpoint_keys` renames their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# entry of a predictor's description -> path in that of format 2; the rest are as they were
_ENTRIES = {
    "start": ("init",),
    "flops": ("flops_moments",),
    "share": ("context", "flops_weight"),
}


def meta_from_format_1(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a predictor of format 1, which had no constants of the blend, in the words of format 2."""
    found: dict[str, Any] = {}
    for name, value in meta.items():
        if name == "networks":
            found["ensemble"] = _ensemble(value)
        elif name == "whole":
            found["gnn"] = {"ensemble": _ensemble(value)}
        else:
            *outer, last = _ENTRIES.get(name, (name,))
            entry = found
            for key in outer:
                entry = entry.setdefault(key, {})
            entry[last] = value
    return found


def _ensemble(networks: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        name: networks[name] for name in ("frozen", "train", "tasks", "carl", "member_encoder") if name in networks
    }
    found["size"] = networks["ensemble"]
    for old, new in (("sources", "source"), ("members", "target")):
        if networks.get(old):  # format 1 counted no members where nothing was fitted
            found[new] = {"members": networks[old]}
    return found
