"""Einstein sums of several operands are multiplied in PyTorch's order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_samples import Function

import cgir
import frontends

SUMS = {
    "low rank": ("bchw,cr,or->bohw", (2, 3, 5, 5), (3, 2), (4, 2)),
    "tensor train": ("bij,iru,rjv->buv", (2, 2, 4), (2, 3, 5), (3, 4, 6)),
    "chain": ("...i,ij,jk,kl->...l", (2, 7, 4), (4, 5), (5, 6), (6, 3)),
    "trilinear": ("bi,bj,ijk->bk", (2, 4), (2, 3), (4, 3, 5)),
}


@pytest.mark.parametrize("cheapest", [False, True])
@pytest.mark.parametrize("name", SUMS)
def test_costs_are_those_of_pytorchs_order(name: str, cheapest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.opt_einsum, "enabled", cheapest)
    equation, *sizes = SUMS[name]
    model = Function(lambda m, *operands: torch.einsum(equation, *operands))
    operands = tuple(map(torch.zeros, sizes))
    with FlopCounterMode(display=False) as counter:
        model(*operands)
    graph = frontends.trace(model, operands, batch=None)
    assert (graph.flops, graph.complete) == (counter.get_total_flops(), True)
    program = torch.export.export(model, operands, strict=False)
    assert cgir.isomorphic(frontends.trace(program, batch=None), graph)


def test_weights_multiplied_beforehand_are_kept() -> None:
    def forward(m: Function, x: Tensor) -> Tensor:
        return torch.einsum("bn,nr,rk->bk", x, m.a, m.b)

    model = Function(forward, a=nn.Parameter(torch.zeros(4, 2)), b=nn.Parameter(torch.zeros(2, 5)))
    assert frontends.trace(model, torch.zeros(1, 4)).num_params == 4 * 2 + 2 * 5
