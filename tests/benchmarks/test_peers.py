"""The benchmarks themselves: what they compare with is right, and a peer that fails or is missing is said so."""

import math

import pytest
import torch
from torch import nn

from benchmarks import peers, tracing


@pytest.mark.parametrize("network", peers.NETWORKS, ids=lambda network: network.name)
def test_the_arithmetic_is_what_pytorch_counts_on_meta(network: peers.Network) -> None:
    with torch.device("meta"):
        model, x = network.build().eval(), torch.empty(network.shape)
    assert peers.PEERS["torch FlopCounterMode, meta"](model, x)[0] == network.macs
    assert sum(param.numel() for param in model.parameters()) == network.params
    assert peers.PEERS["cgir"](model, x) == (network.macs, network.params)


def test_the_figures_everybody_quotes() -> None:
    assert [round(network.macs / 1e9, 3) for network in peers.NETWORKS] == [4.089, 17.564, 0.654]


def test_wrong_counts_are_bold_and_missing_tools_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(model: nn.Module, x: torch.Tensor) -> peers.Count:
        raise ModuleNotFoundError("No module named 'counter'", name="counter")

    monkeypatch.setattr(peers, "NETWORKS", peers.NETWORKS[2:])
    monkeypatch.setattr(
        peers,
        "PEERS",
        {
            "missing": missing,
            "half": lambda model, x: (0.327e9, 4_738_560),
            "none": lambda model, x: (math.nan, math.nan),
        },
    )
    exact, *rows = peers.rows()
    assert exact == ("by arithmetic", "0.654", "4.74")
    assert rows == [("missing", "not installed (counter)", ""), ("half", "**0.327**", "4.74"), ("none", "", "")]


def test_a_refusing_exporter_is_a_row() -> None:
    def refuses(model: nn.Module, inputs: tuple[torch.Tensor]) -> object:
        raise RuntimeError("no such operator\nand much more")

    row = tracing.compare("net", nn.ReLU(), (torch.empty(1, 2, device="meta"),), refuses, 1)
    assert row.failure == "RuntimeError: no such operator"
    fine = tracing.compare("net", nn.ReLU(), (torch.empty(1, 2, device="meta"),), lambda model, inputs: None, 2)
    table = tracing.table("caption", "peer", [row, fine])
    assert table.rows[0][2:] == ("RuntimeError: no such operator", "")
    assert tracing.summary([("peer", [row, fine])]).rows[0][:3] == ("peer", "2", "1")
