"""Once-for-All MobileNetV3: strings, published costs, timm's blocks as a peer, and which strings are one network."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from itertools import islice
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import assert_refused, check_traces, rows

import cgir
import frontends
from cgir.analysis.weisfeiler_lehman import graph_hashes
from frontends import spaces
from frontends.spaces.mbconv.ofa_mbv3 import NUM_STAGES, RESOLUTIONS, Spec, _stage, canonical, make_divisible

SPACE = spaces.get("ofa_mbv3")
TEXT = "ks=" + "3 5 7 3 " * 5 + ";e=" + "6 4 3 3 " * 5 + ";d=2 3 4 2 3;r=160"
TEXT = TEXT.replace(" ;", ";")
BAD = (
    ("", "1 parts"),
    (TEXT.rpartition(";")[0], "3 parts"),
    (TEXT.replace("e=", "x="), "part 1"),
    (TEXT.replace("ks=3", "ks="), "19 numbers"),
    (TEXT.replace("d=2", "d=2 2"), "6 numbers"),
    (TEXT.replace("r=160", "r="), "0 numbers in 'r='"),
    (TEXT.replace("ks=3 5", "ks=3 9"), "number 1 of ks"),
    (TEXT.replace("e=6", "e=5"), "'5'; expected one of 3, 4, 6"),
    (TEXT.replace("3;r", "1;r"), "number 4 of d"),
    (TEXT.replace("160", "130"), "'130'"),
    (TEXT.replace("ks=3", "ks=03"), "'03'"),
    (TEXT.replace("ks=3", "ks=٣"), "'٣'"),
)


def published() -> list[tuple[str, dict[str, str]]]:
    table = rows("ofa_mbv3_imagenet.csv.gz")
    return [(f"ks={row['ks20']};e={row['e20']};d={row['d5']};r={row['resolution']}", row) for row in table]


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(SPACE, text, complaint)


def test_bad_skeletons_are_named() -> None:
    with pytest.raises(cgir.SpecError, match=r"width=1.1; expected one of 1.0, 1.2"):
        spaces.get("ofa_mbv3", width=1.1)
    with pytest.raises(cgir.SpecError, match="3 widths; expected 9"):
        spaces.get("ofa_mbv3", widths=(16, 24, 40))


def test_strings_of_the_table_read_back() -> None:
    texts = [text for text, _ in published()]
    assert len(texts) == 2491
    assert [SPACE.format(SPACE.parse(text)) for text in texts] == texts
    assert len({canonical(SPACE.parse(text)) for text in texts}) == 2437 < len(set(texts)) == 2453


def test_every_published_parameter_and_mac() -> None:
    found, expected = [], []
    for text, row in published():
        if row["params"]:
            graph = SPACE.graph(SPACE.parse(text))
            found.append((graph.num_params, graph.flops / 2))
            expected.append((int(float(row["params"])), int(float(row["macs"]))))
    assert len(found) == 1192
    assert found == expected


def peak_memory(graph: cgir.Graph) -> int:
    """MOOFA's PeakMemoryEfficiency on a graph: the largest memory of a convolution.

    It counts weights, input and output, and what a shortcut around the convolution keeps.
    """
    kept = {}  # depthwise convolution -> the block's input, where it is added to the block's output
    for node in graph.nodes:
        if node.op == "Add":
            body = max(node.inputs)
            while graph.nodes[body].op != "Conv" or graph.nodes[body].attr("groups") == 1:
                body = graph.nodes[body].inputs[0]
            kept[body] = prod(node.shape)
    sizes = []
    for index, node in enumerate(graph.nodes):
        if node.op == "Conv" and node.shape[1:] != (1, 1):
            sizes.append(prod(node.in_shapes[0]) + prod(node.shape) + prod(node.params[0].shape) + kept.get(index, 0))
    return max(sizes)


def test_every_published_peak_memory() -> None:
    found, expected = [], []
    for text, row in published():
        if row["peak_memory_elems"]:
            found.append(peak_memory(SPACE.graph(SPACE.parse(text))))
            expected.append(int(float(row["peak_memory_elems"])))
    assert len(found) == 2491 - 1192
    assert found == expected


def timm_network(spec: Spec, width: float) -> torch.nn.Module:
    """The network from timm's MobileNetV3 blocks."""
    from frontends.torch.torchvision_ops import declare

    declare()
    from timm.models._efficientnet_blocks import SqueezeExcite
    from timm.models._efficientnet_builder import decode_arch_def, round_channels
    from timm.models.mobilenetv3 import MobileNetV3

    layout = zip(
        (24, 40, 80, 112, 160), (2, 2, 2, 1, 2), ("_nre", "_se0.25_nre", "", "_se0.25", "_se0.25"), spec.d, strict=True
    )
    blocks = [["ds_r1_k3_s1_e1_c16_nre"]]
    for stage, (channels, stride, rest, depth) in enumerate(layout):
        places = range(4 * stage, 4 * stage + depth)
        blocks.append([f"ir_r1_k{spec.ks[i]}_s{1 if i % 4 else stride}_e{spec.e[i]}_c{channels}{rest}" for i in places])
    with torch.device("meta"):
        return MobileNetV3(
            decode_arch_def([*blocks, ["cn_r1_k1_s1_c960"]]),
            num_features=round(1280 * width),
            head_bias=False,
            round_chs_fn=partial(round_channels, multiplier=width),
            act_layer=torch.nn.Hardswish,
            se_layer=partial(
                SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=torch.nn.ReLU, rd_round_fn=round_channels
            ),
        ).eval()


@pytest.mark.parametrize("width", [1.0, 1.2])
def test_graphs_are_those_of_timm(width: float) -> None:
    space, rng = spaces.get("ofa_mbv3", width=width), np.random.default_rng(8)
    for spec in (space.sample(rng) for _ in range(5)):
        peer = frontends.trace(timm_network(spec, width), space.inputs(spec))
        assert cgir.isomorphic(space.graph(spec), peer), cgir.diff(space.graph(spec), peer)


@pytest.mark.parametrize("width", [1.0, 1.2])
def test_graphs_are_the_traced_networks(width: float) -> None:
    check_traces(spaces.get("ofa_mbv3", width=width), 8, seed=1)


def test_widths_round_as_in_torchvision() -> None:
    from frontends.torch.torchvision_ops import declare

    declare()
    from torchvision.models._utils import _make_divisible

    values = [channels * factor for channels in range(1, 2000, 7) for factor in (1.0, 1.2, 0.25)]
    assert [make_divisible(value) for value in values] == [_make_divisible(value, 8) for value in values]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_only_blocks_that_are_there_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = SPACE.sample(rng)._replace(d=tuple(map(int, rng.integers(2, 5, size=5))))
    assert canonical(canonical(spec)) == canonical(spec)
    assert SPACE.format(spec) != SPACE.format(canonical(spec)) or spec == canonical(spec)
    place = int(rng.integers(20))
    other = spec._replace(ks=(*spec.ks[:place], 3 if spec.ks[place] > 3 else 7, *spec.ks[place + 1 :]))
    there = place % 4 < spec.d[place // 4]
    assert (canonical(other) == canonical(spec)) is not there
    assert (SPACE.graph(other).hash == SPACE.graph(spec).hash) is not there


def test_sampling_is_uniform_over_networks() -> None:
    rng = np.random.default_rng(0)
    specs = [SPACE.sample(rng) for _ in range(3000)]
    assert all(canonical(spec) == spec for spec in specs)
    depths = Counter(depth for spec in specs for depth in spec.d)
    for depth in (2, 3, 4):
        share = 9**depth / (9**2 + 9**3 + 9**4)
        assert abs(depths[depth] / 15_000 - share) < 4 * np.sqrt(share * (1 - share) / 15_000)
    for values in (
        [spec.ks[i] for spec in specs for i in (0, 1)],
        [spec.e[i] for spec in specs for i in (0, 1)],
        [spec.r for spec in specs],
    ):
        counts = Counter(values)
        expected = len(values) / (3 if len(counts) == 3 else 25)
        assert all(abs(count - expected) < 4 * np.sqrt(expected) for count in counts.values())
        assert len(counts) in (3, 25)


def test_the_space_has_the_published_size_and_no_repeats() -> None:
    assert NUM_STAGES**5 == (9**2 + 9**3 + 9**4) ** 5  # "roughly 2 x 10^19", each at 25 sizes: section 3.2
    assert len(RESOLUTIONS) == 25
    assert len({_stage(code) for code in range(NUM_STAGES)}) == NUM_STAGES
    specs = list(islice(SPACE.enumerate(), 25 * 120))
    assert len(set(map(canonical, specs))) == len(specs)
    tiny = spaces.get("ofa_mbv3", widths=(8,) * 9, classes=2)
    batch = tiny.graphs(specs[::25])
    assert len(set(graph_hashes(batch, [None] * len(batch)))) == 120


def blocks(spec: Spec) -> list[list[tuple[int, int]]]:
    return [
        [(spec.ks[4 * stage + i], spec.e[4 * stage + i]) for i in range(depth)] for stage, depth in enumerate(spec.d)
    ]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mutations_are_one_step_to_another_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = SPACE.sample(rng)._replace(d=tuple(map(int, rng.integers(2, 5, size=5))))
    child = SPACE.mutate(spec, rng)
    assert canonical(child) == child != canonical(spec)
    old, new = blocks(spec), blocks(child)
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) + (spec.r != child.r) == 1
    for before, after in changed:
        values = [pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]]
        if len(before) == len(after):
            assert len(values) == 1
            assert sum(a != b for a, b in zip(*values[0], strict=True)) == 1
        else:
            assert not values


def test_every_kind_of_mutation_occurs() -> None:
    rng, spec = np.random.default_rng(2), canonical(SPACE.parse(TEXT))
    children = [SPACE.mutate(spec, rng) for _ in range(1500)]
    grown = {(child.d, child.ks, child.e) for child in children if sum(child.d) > sum(spec.d)}
    assert len({child.r for child in children}) > 20
    assert len({child.d for child in children}) == 1 + 5 * 2
    assert len(grown) > 50  # new blocks are drawn
    single = [child for child in children if child.d == spec.d and child.r == spec.r]
    assert len(set(single)) == 2 * 2 * sum(spec.d)


def test_cell_graphs_name_the_blocks() -> None:
    cell = SPACE.cell_graph(SPACE.parse(TEXT))
    assert cell.ops[:6] == (
        "input",
        "mbconv_e6_k3_first",
        "mbconv_e4_k5",
        "mbconv_e6_k3_first",
        "mbconv_e4_k5",
        "mbconv_e3_k7",
    )
    assert len(cell.ops) == 2 + 14
    assert cell.edges == tuple((i, i + 1) for i in range(15))
    assert cell.pruned() == cell
    assert {SPACE.cell_graph(spec).ops for spec in (canonical(SPACE.parse(TEXT)), SPACE.parse(TEXT))} == {cell.ops}


OPTIONS = (
    {"expansions": (1, 1.5, 2), "depths": (1, 2, 3)},
    {"expansions": (0.9, 1, 1.1, 1.2)},  # MOOFA's second supernet
    {"kernels": (3,), "expansions": (2, 3, 4, 6), "depths": (2, 5)},
    {"kernels": (3, 5, 7, 9), "expansions": (1,), "depths": (4,)},
)


def rounded(channels: int, expansion: float) -> int:
    """The authors' `make_divisible(round(in_channel * active_expand_ratio), 8)`, with torch's rounding of halves."""
    value = int(torch.round(torch.tensor(channels * expansion, dtype=torch.float)))
    return next(n for n in range(8, 10_000, 8) if value < n + 4 and n >= 0.9 * value)


@pytest.mark.parametrize("options", OPTIONS)
def test_other_choices_make_other_supernets(options: dict[str, Any]) -> None:
    space, rng = spaces.get("ofa_mbv3", **options), np.random.default_rng(0)
    deepest = max(space.depths)
    pairs = len(space.kernels) * len(space.expansions)
    assert space.count() == sum(pairs**depth for depth in space.depths) ** 5 * 25
    first = list(islice(space.enumerate(), 200))
    assert len({space.format(spec) for spec in first}) == 200
    specs = [space.sample(rng) for _ in range(40)]
    specs += [space.mutate(spec, rng) for spec in specs] + [space.crossover(*specs[i : i + 2], rng) for i in range(30)]
    for spec in (*first, *specs):
        assert space.parse(space.format(spec)) == spec
        assert len(spec.ks) == len(spec.e) == 5 * deepest
        assert set(spec.d) <= set(space.depths)
    for values, choices in (("ks", space.kernels), ("e", space.expansions), ("d", space.depths)):
        assert {value for spec in specs for value in getattr(spec, values)} == set(choices)
    assert all(space.mutate(spec, rng) != spec for spec in specs)
    check_traces(space, 3, seed=3)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_uniform_depth_and_expansion_has_the_authors_channels(options: dict[str, Any]) -> None:
    space = spaces.get("ofa_mbv3", **options)
    for expansion in space.expansions:
        spec = space.sample(np.random.default_rng(0))._replace(e=(expansion,) * 5 * max(space.depths))
        graph = space.graph(spec)
        depthwise = [node.shape[0] for node in graph.nodes if node.op == "Conv" and node.attr("groups") > 1]
        inner, expected = 16, [16]
        for depth, outer in zip(spec.d, (24, 40, 80, 112, 160), strict=True):
            for _ in range(depth):
                expected.append(rounded(inner, expansion))
                inner = outer
        assert depthwise == expected
        expansions = sum(
            node.op == "Conv" and node.shape[1:] != (1, 1) and node.attr("groups") == 1 for node in graph.nodes
        )
        kept = sum(spec.d) if space.expansions != (1,) else 0
        assert expansions == 1 + 1 + sum(spec.d) + kept + 1  # stem, first block, projections, expansions, last


def test_cells_of_other_choices_are_read() -> None:
    space = spaces.get("ofa_mbv3", expansions=(1, 1.5, 2), depths=(1, 2, 3))
    specs = [space.sample(np.random.default_rng(0)) for _ in range(20)]
    batch = space.cell_graphs(specs)
    widths = {kind.shape[0] for kind in batch.kinds if kind.op == "Conv"}
    assert widths == {16, 24, 32}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"expansions": (4, 3)}, "expected different numbers in ascending order"),
        ({"kernels": (3, 3)}, "expected different numbers in ascending order"),
        ({"kernels": (2, 3)}, "expected odd numbers"),
        ({"expansions": (0.0, 1)}, "expected positive numbers"),
        ({"expansions": (float("nan"),)}, "expected positive numbers"),
        ({"expansions": (float("inf"),)}, "too large"),
        ({"expansions": 2.5}, "expected positive numbers"),
        ({"kernels": (3.0, 5)}, "expected positive integers"),
        ({"depths": (2, 40)}, "more than 2^63 ways"),
        ({"depths": (10**9,)}, "at most 100,000"),
    ],
)
def test_bad_choices_are_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=re.escape(complaint)):
        spaces.get("ofa_mbv3", **options)


def test_whole_expansions_are_integers() -> None:
    space = spaces.get("ofa_mbv3", expansions=[3.0, 4.0, 6.0])  # as JSON may have them
    assert space == SPACE
    assert space.format(space.parse(TEXT)) == TEXT
