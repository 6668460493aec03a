"""MetaQNN: strings, the published networks, their listed counts, and what the space has."""

from __future__ import annotations

from itertools import islice
from math import prod

import numpy as np
import pytest
import torch
from space_checks import check_traces, rows
from torch import nn

import cgir
from frontends import spaces
from frontends.spaces.plain_cnn.metaqnn import MetaQnn

BAD = (
    ("[SM(10)]", "no convolution"),
    ("[C(64,5,1)]", "ends with"),
    ("[C(64,5,1), SM(100)]", "ends with"),
    ("[P(2,2), C(64,5,1), SM(10)]", "layer 0"),
    ("[C(64,5,1), P(2,2), P(2,2), SM(10)]", "layer 2"),
    ("[C(64,5,1), P(2,2), FC(128), SM(10)]", "layer 2"),  # 16 pixels a side are too many
    ("[C(64,5,1), P(5,3), C(64,1,1), P(5,3), C(64,1,1), SM(10)]", "layer 4"),  # no kernel fits 2 pixels
    ("[C(64,5,1), P(5,3), C(64,1,1), P(2,2), FC(128), FC(256), SM(10)]", "layer 5"),
    ("[C(64,5,1), GAP(10), C(64,1,1), SM(10)]", r"layer 2 .* expected SM\(10\)"),
    ("[C(64,5,1), D(1,1), P(2,2), SM(10)]", "dropout in other places"),
)
TEXT = "[C(64,5,1), P(5,3), D(1,4), C(64,1,1), P(2,2), D(2,4), FC(128), D(3,4), SM(10)]"


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=f"^metaqnn: .*{complaint}"):
        spaces.get("metaqnn").parse(text)


def test_dropout_may_be_left_out_of_a_string() -> None:
    space = spaces.get("metaqnn")
    bare = ", ".join(word for word in TEXT[1:-1].split(", ") if not word.startswith("D"))
    assert space.format(space.parse(f"[{bare}]")) == TEXT
    probabilities = [layer.p for layer in space.module(space.parse(TEXT)) if isinstance(layer, nn.Dropout)]
    assert probabilities == [1 / 8, 2 / 8, 3 / 8]


def listed(graph: cgir.Graph, text: str) -> int:
    """What the authors count: weights without biases, images smaller than they are, the softmax like the last layer."""
    total, channels, side, features, last = 0, 3, 32, 0, []
    for word in (word for word in text[1:-1].split(", ") if not word.startswith("D")):
        kind, numbers = word[:-1].split("(")
        values = list(map(int, numbers.split(",")))
        if kind == "P":
            side = (side - values[0]) // values[1] + 1
        elif kind == "FC":
            total += values[0] * (features or channels * side * side)
            features = values[0]
        elif kind == "SM":
            total += {"C": channels * channels * last[1][1] ** 2 if last[0] == "C" else 0, "FC": features**2}.get(
                last[0], 0
            )
            break
        else:
            channels = values[0] if kind == "C" else channels
        last = [kind, values]
    convolutions = [node.params[0].shape for node in graph.nodes if node.op == "Conv"]
    return total + sum(map(prod, convolutions))


def test_every_listed_count() -> None:
    space, found, published = spaces.get("metaqnn"), [], []
    for row in rows("more/metaqnn_cifar10.csv.gz"):
        spec = space.parse(row["arch"])
        assert space.format(spec) == row["arch"]  # with dropout in its places
        assert len(spec) + 1 == int(row["depth"])
        found.append(listed(space.graph(spec), row["arch"]))
        published.append(int(row["params_listed"]))
    assert len(found) == 1_000
    assert found == published


def test_parameters_of_a_network_by_hand() -> None:
    space = spaces.get("metaqnn")
    # 32 pixels; the last windows of pooling are cut: 32 -> 10 -> 5
    count = (3 * 25 + 1) * 64 + (64 + 1) * 64 + (64 * 5 * 5 + 1) * 128 + (128 + 1) * 10
    assert space.graph(space.parse(TEXT)).num_params == count
    # a convolution to the classes before the mean, and a linear layer after it
    gap = space.parse("[C(64,1,1), GAP(10), SM(10)]")
    assert space.graph(gap).num_params == (3 + 1) * 64 + (64 + 1) * 10 + (10 + 1) * 10


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("metaqnn"), 40, seed=1)


@pytest.mark.parametrize("size", [5, 13, 28, 47])
def test_other_images(size: int) -> None:
    space = MetaQnn(widths=(4, 6), features=(8,), image=(1, size, size + 3), classes=3)
    check_traces(space, 10, seed=size)
    spec = space.sample(np.random.default_rng(size))
    assert space.module(spec).eval()(torch.zeros(2, *space.image)).shape == (2, 3)


def test_all_networks_of_few_layers() -> None:
    space = MetaQnn(widths=(4, 6), features=(12, 8), layers=4, image=(3, 12, 12))
    specs = list(space.enumerate())
    assert len(specs) == len(set(specs)) == space.count()
    assert max(map(len, specs)) == 4
    rng = np.random.default_rng(0)
    drawn = {space.sample(rng) for _ in range(300)}
    assert drawn | {space.mutate(spec, rng) for spec in drawn} <= set(specs)


def test_sampling_reaches_every_layer_and_every_depth() -> None:
    space, rng = spaces.get("metaqnn"), np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(2_000)]
    assert {len(spec) for spec in specs} == set(range(1, 19))
    assert {layer for spec in specs for layer in spec} == {
        layer
        for spec in islice(map(space.parse, (row["arch"] for row in rows("more/metaqnn_cifar10.csv.gz"))), 300)
        for layer in spec
    }


def test_children_begin_as_one_parent_and_end_as_the_other() -> None:
    space, rng = spaces.get("metaqnn"), np.random.default_rng(0)
    for _ in range(60):
        first, second = space.sample(rng), space.sample(rng)
        child = space.crossover(first, second, rng)
        assert space.parse(space.format(child)) == child
        assert child == first or any(child == first[:cut] + second[cut:] for cut in range(1, len(second)))
