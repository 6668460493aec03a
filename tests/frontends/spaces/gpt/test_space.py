"""GPT shapes: strings, published numbers of parameters, and the attention written out with complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from space_checks import assert_refused, rows, small

import cgir
from frontends import spaces

SPACE = spaces.get("gpt")
BAD = (
    ("d=1024;l=12", "2 parts"),
    ("d=1024;h=12;l=12", "part 1"),
    ("d=1000;l=12;h=16", "'1000'; expected one of 96, 192"),
    ("d=1024;l=12 12;h=16", "2 numbers"),
    ("d=488;l=12;h=8", "61 channels a head"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(SPACE, text, complaint)


def test_every_run_took_twenty_tokens_a_parameter() -> None:
    """Rows list tokens; those that list parameters list these."""
    found, tokens = [], []
    for row in rows("more/openlm_gpt_loss.csv.gz"):
        graph = SPACE.graph(SPACE.parse("d={d};l={l};h={h}".format_map(row)))
        found.append(20 * graph.num_params)
        tokens.append(int(row["tokens"]))
        assert row["params_listed"] in ("", str(graph.num_params))
        assert graph.num_params == int(row["params_computed"]) or (row["d"], row["h"]) == ("488", "12")
    assert len(found) == 435
    assert found == tokens


# As open_lm's README lists its models, of 50,432 tokens.
@pytest.mark.parametrize(
    ("text", "millions"), [("d=2048;l=24;h=16", 1_440), ("d=4096;l=32;h=32", 6_889), ("d=96;l=8;h=4", 10.6)]
)
def test_larger_models_are_of_known_size(text: str, millions: float) -> None:
    assert SPACE.graph(SPACE.parse(text)).num_params == pytest.approx(millions * 1e6, rel=0.01)


def rotated(x: torch.Tensor) -> torch.Tensor:
    """(B, heads, T, head): channels i and i + head / 2 are a complex number, turned at a speed of its own."""
    half = x.shape[-1] // 2
    speeds = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    turns = torch.polar(torch.ones(1, dtype=torch.float64), torch.arange(x.shape[2])[:, None] * speeds)
    turned = torch.complex(x[..., :half], x[..., half:]) * turns
    return torch.cat((turned.real, turned.imag), -1)


@torch.no_grad()
def test_blocks_are_attention_and_swiglu_written_out() -> None:
    torch.manual_seed(0)
    space = spaces.get("gpt", widths=(26,), depths=(1,), heads=(3,), vocabulary=20, context=6)  # 24 of 26 channels
    network: Any = space.module(space.parse("d=26;l=1;h=3")).double()
    tokens = torch.randint(20, (2, 6))
    block = network.layers[0]
    x = network.tok_embeddings(tokens)
    queries, keys, values = (
        (block.attention_norm(x) @ block.in_proj.weight.T).view(2, 6, 3, 3, 8).permute(2, 0, 3, 1, 4)
    )
    scores = rotated(queries) @ rotated(keys).mT / 8**0.5 + torch.full((6, 6), -torch.inf).triu(1)
    x = x + (scores.softmax(-1) @ values).permute(0, 2, 1, 3).reshape(2, 6, 24) @ block.out_proj.weight.T
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    gate, up = (normed @ block.w12.weight.T).view(2, 6, 2, 256).unbind(2)
    x = x + (gate * gate.sigmoid() * up) @ block.w3.weight.T
    torch.testing.assert_close(network(tokens), network.norm(x) @ network.output.weight.T, rtol=1e-5, atol=1e-5)


def test_a_space_of_one_shape_has_no_mutations() -> None:
    space = spaces.get("gpt", widths=(64,), depths=(2,), heads=(4,))
    spec = space.sample(np.random.default_rng(0))
    with pytest.raises(cgir.SpecError, match="no other shape differs from d=64;l=2;h=4"):
        space.mutate(spec, np.random.default_rng(0))


def test_bad_choices_are_named() -> None:
    with pytest.raises(cgir.SpecError, match=r"depths=\(2, 2\); expected different numbers"):
        spaces.get("gpt", depths=(2, 2))
    with pytest.raises(cgir.SpecError, match="give a head an even number of channels"):
        spaces.get("gpt", widths=(4, 12), heads=(4,))
    with pytest.raises(cgir.SpecError, match="at most 100,000"):
        spaces.get("gpt", depths=(10**6,))


def test_cells_name_widths_and_heads() -> None:
    space = small("gpt")
    cell = space.cell_graph(space.parse("d=24;l=2;h=4"))
    assert cell.ops == ("input", *("attention_24_4", "swiglu_24_256") * 2, "output")
