"""LSTM language models: strings, the published grid, parameters by PyTorch's own count."""

from __future__ import annotations

import pytest
import torch
from space_checks import assert_refused, rows, trace

import cgir
from frontends import spaces

SPACE = spaces.get("lstm")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("l=2", "1 parts"),
        ("h=90;l=2", "part 0"),
        ("l=1;h=90", "'1'; expected one of 2, 3, 4, 5"),
        ("l=2;h=100", "number 0 of h in 'l=2;h=100' is '100'; expected one of 10, 30"),
    ],
)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(SPACE, text, complaint)


def test_the_table_is_the_whole_space() -> None:
    texts = {"l={n_layers};h={n_hidden}".format_map(row) for row in rows("more/lstm_ptb.csv.gz")}
    assert texts == set(map(SPACE.format, SPACE.enumerate()))


def test_graphs_have_the_parameters_of_the_modules() -> None:
    for text in ("l=2;h=10", "l=5;h=1390"):
        spec = SPACE.parse(text)
        with torch.device("meta"):
            count = sum(weight.numel() for weight in SPACE.module(spec).parameters())
        assert SPACE.graph(spec).num_params == count
        assert cgir.isomorphic(SPACE.graph(spec), trace(SPACE, spec))


def test_costs_grow_with_the_steps() -> None:
    """Twice the products of weights, each step; biases and gates are the rest."""
    spec = SPACE.parse("l=2;h=90")
    short, long = (spaces.get("lstm", steps=steps).graph(spec) for steps in (10, 30))
    assert long.num_params == short.num_params
    assert long.flops == 3 * short.flops
    weights = 4 * 90 * (400 + 90 + 90 + 90) + 90 * 10_000
    assert 2 * weights <= short.flops / 10 < 2.02 * weights


def test_cells_name_the_hidden_units() -> None:
    assert SPACE.cell_graph(SPACE.parse("l=3;h=90")).ops == ("input", *("lstm_90",) * 3, "output")
