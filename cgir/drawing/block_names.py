"""Names of blocks, from the module paths of their nodes."""

from __future__ import annotations

from collections.abc import Sequence


def common_prefix_length(paths: Sequence[tuple[str, ...]]) -> int:
    """Length of the longest common prefix."""
    first, last = min(paths), max(paths)
    return next(
        (depth for depth, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )


def join_path(key: tuple[str, ...] | None) -> str:
    """The module path of a key; empty for none."""
    return ".".join(key or ())


def span(names: Sequence[str]) -> str:
    """blocks.0 .. 11 for blocks.0, blocks.1, ..., blocks.11."""
    known = [name for name in names if name]
    if not known or known[0] == known[-1]:
        return known[0] if known else ""
    first, last = known[0].rpartition("."), known[-1].rpartition(".")
    return f"{known[0]} .. {last[2] if first[0] == last[0] else known[-1]}"


def relative(name: str, around: Sequence[str]) -> str:
    """A name without that of the innermost block around it; one that is only a number keeps what is before it."""
    paths = [frame.partition(" .. ")[0] + "." for frame in around]
    label = next((name.removeprefix(path) for path in reversed(paths) if name.startswith(path)), name)
    before = name.removesuffix(label).split(".")[:-1]
    while before and label[:1].isdigit():
        label = f"{before.pop()}.{label}"
    return label
