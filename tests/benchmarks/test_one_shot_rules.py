"""Seconds of proxies and rules: every proxy has a row, and is compared with passes of the same network."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.one_shot_rules import BACKWARD, FORWARD, REFERENCES, SECOND, proxy_rows, references
from frontends import spaces
from search.zero_cost import NAMES


def test_every_proxy_is_timed_beside_the_passes_that_it_needs() -> None:
    space = spaces.get("nasbench201", channels=4, cells=1, image=(3, 8, 8))
    network = space.module(space.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|"))
    rows = proxy_rows([network], torch.randn(4, 3, 8, 8), torch.arange(4))
    assert [name for name, *_ in rows] == [f"*{FORWARD}*", f"*{BACKWARD}*", f"*{SECOND}*", *NAMES, "az_nas"]
    assert REFERENCES.keys() <= {*NAMES, "az_nas"}
    assert all(bool(ratio) == (name in REFERENCES) for name, _, _, ratio in rows)


def test_passes_of_a_network_with_unused_weights() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    network.register_parameter("unused", nn.Parameter(torch.ones(1)))
    found = references(network, torch.randn(4, 3, 2, 2), torch.arange(4))
    assert set(found) == {FORWARD, BACKWARD, SECOND}
    assert all(seconds >= 0 for seconds in found.values())
    assert all(parameter.grad is None for parameter in network.parameters())
