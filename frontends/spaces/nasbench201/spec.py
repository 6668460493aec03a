"""Specs of NAS-Bench-201: the operation of every edge in `edge_cell.EDGES`."""

from __future__ import annotations

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

Spec = tuple[str, ...]
