"""Flexible attention: what the user's functions of scores and positions read and cost."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch_samples import Function

import cgir
import frontends

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without:UserWarning")
HEADS, LENGTH, FEATURES = 2, 32, 16
PRODUCTS = 2 * 2 * HEADS * LENGTH * LENGTH * FEATURES  # scores and values
ScoreMod = Callable[..., Any]


def trace_both(model: nn.Module, inputs: Tensor) -> cgir.Graph:
    graph = frontends.trace(model, inputs)
    cgir.verify(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = frontends.trace(torch.export.export(model, (inputs,), strict=False))
    assert cgir.isomorphic(graph, exported), cgir.diff(graph, exported)
    assert (exported.num_params, exported.flops) == (graph.num_params, graph.flops)
    return graph


def attention(score_mod: ScoreMod | None, key_heads: int = HEADS, **parts: Any) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Any:
        score = None if score_mod is None else lambda *args: score_mod(m, *args)
        few = x[:, :key_heads]
        return flex_attention(x, few, few, score_mod=score, block_mask=m.mask, enable_gqa=key_heads < HEADS)

    return Function(forward, **{"mask": None, **parts})


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


CASES: dict[str, tuple[ScoreMod, dict[str, Any], int, int]] = {
    "bias of a head": (lambda m, score, b, h, q, k: score + m.bias[h], {"bias": parameter(HEADS)}, 2, 0),
    "relative positions": (
        lambda m, score, b, h, q, k: score + m.bias[h, q - k + LENGTH - 1],
        {"bias": parameter(HEADS, 2 * LENGTH - 1)},
        126,
        0,
    ),
    "soft cap": (lambda m, score, b, h, q, k: 20 * torch.tanh(score / 20), {}, 0, 0),
    "product of positions": (
        lambda m, score, b, h, q, k: score + m.rows[q] @ m.columns[k],
        {"rows": parameter(LENGTH, 4), "columns": parameter(LENGTH, 4)},
        256,
        2 * LENGTH * LENGTH * 4,
    ),
    "layer on positions": (
        lambda m, score, b, h, q, k: score + m.layer(torch.stack([q, k]).float()).sum(),
        {"layer": nn.Linear(2, 8)},
        24,
        2 * LENGTH * LENGTH * 2 * 8,
    ),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_functions_of_scores_are_looked_into(name: str, batch: int) -> None:
    score_mod, parts, params, products = CASES[name]
    graph = trace_both(attention(score_mod, **parts), torch.zeros(batch, HEADS, LENGTH, FEATURES))
    assert (graph.num_params, graph.flops) == (params, PRODUCTS + products)
    assert graph.complete
    assert not dict(graph.notes).get("unused parameters")


def test_scores_that_stay_are_plain_attention() -> None:
    inputs = torch.zeros(1, HEADS, LENGTH, FEATURES)
    plain = frontends.trace(Function(lambda m, x: torch.nn.functional.scaled_dot_product_attention(x, x, x)), inputs)
    causal = create_block_mask(lambda b, h, q, k: q >= k, None, None, LENGTH, LENGTH, device="cpu")
    for model in (attention(None), attention(lambda m, score, *_: score), attention(None, mask=causal)):
        assert cgir.isomorphic(trace_both(model, inputs), plain)


def test_masks_and_groups_of_heads() -> None:
    causal = create_block_mask(lambda b, h, q, k: q >= k, None, None, LENGTH, LENGTH, device="cpu")
    model = attention(lambda m, score, b, h, q, k: score + m.bias[h], key_heads=1, mask=causal, bias=parameter(HEADS))
    graph = trace_both(model, torch.zeros(1, HEADS, LENGTH, FEATURES))
    assert (graph.num_params, graph.flops) == (2, PRODUCTS)


def test_learned_masks_are_read() -> None:
    def forward(m: Any, x: Tensor) -> Any:
        keeps = create_block_mask(lambda b, h, q, k: m.level[q] > m.level[k], None, None, LENGTH, LENGTH, device="cpu")
        return flex_attention(x, x, x, block_mask=keeps)

    graph = frontends.trace(Function(forward, level=parameter(LENGTH)), torch.zeros(1, HEADS, LENGTH, FEATURES))
    assert (graph.num_params, graph.flops) == (LENGTH, PRODUCTS)


def test_statistics_are_results_too() -> None:
    model = Function(
        lambda m, x: flex_attention(x, x, x, return_aux=torch.nn.attention.flex_attention.AuxRequest(lse=True))
    )
    graph = frontends.trace(model, torch.zeros(1, HEADS, LENGTH, FEATURES))
    assert [node.shape for node in graph.nodes if node.op == "Output"] == [
        (HEADS, LENGTH, FEATURES),
        (HEADS, LENGTH),
    ]
