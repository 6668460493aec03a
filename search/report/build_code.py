"""The lines of Python that build a network of a space."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from frontends.spaces import Space

from ..listed_space import ListedSpace


def build_lines(space: Space[Any], text: str) -> list[str]:
    """Three lines that end with `module`, a PyTorch module with new weights.

    Args:
        space: that has the network.
        text: the network as the space's string.
    """
    space = space_of(space)
    skeleton = "".join(
        f", {field.name}={value!r}"
        for field in fields(space)  # type: ignore[arg-type]
        if (value := getattr(space, field.name)) != field.default
    )
    return [
        "from frontends import spaces",
        f"space = spaces.get({space.name!r}{skeleton})",
        f"module = space.module(space.parse({text!r}))",
    ]


def space_of(space: Space[Any]) -> Space[Any]:
    """The space that has the networks, where they are listed."""
    return space.base if isinstance(space, ListedSpace) else space
