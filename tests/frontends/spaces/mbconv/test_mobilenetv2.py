"""MobileNetV2 of archai: strings, torchvision's network as a peer, multipliers."""

from __future__ import annotations

from collections import Counter
from math import ceil

import numpy as np
import pytest
import torch
from space_checks import assert_refused, check_traces

import cgir
import frontends
from frontends import spaces
from frontends.spaces.mbconv.mobilenetv2 import MULTIPLIERS, Spec
from frontends.torch.torchvision_ops import declare

SPACE = spaces.get("mobilenetv2")
TEXT = (
    "ds_r1_k3_s1_c16 ir_r2_k3_s2_e6_c24 ir_r3_k3_s2_e6_c32 ir_r4_k3_s2_e6_c64 ir_r3_k3_s1_e6_c96 ir_r3_k3_s2_e6_c160 "
    "ir_r1_k3_s1_e6_c320;w=1.0;d=1.0"
)
BAD = (
    ("", "1 parts"),
    (TEXT.replace(";d=1.0", ""), "2 parts"),
    (TEXT.replace(" ir_r1_k3_s1_e6_c320", ""), "6 stages"),
    (TEXT.replace("ds_r1", "ds_r2"), "stage 0"),
    (TEXT.replace("ir_r2_k3", "ir_r2_k4"), "stage 1 is 'ir_r2_k4_s2_e6_c24': kernel 4; expected 3, 5, 7"),
    (TEXT.replace("ir_r2", "ir_r3", 1), "blocks 3; expected 2"),
    (TEXT.replace("s2_e6_c32", "s2_e7_c32"), "expansion 7; expected 2, 3, 4, 5, 6"),
    (TEXT.replace("s2_e6_c32", "s1_e6_c32"), "expected such as 'ir_r1_k3_s2_e2_c32'"),
    (TEXT.replace("c320", "c0320"), "stage 6"),
    (TEXT.replace("w=1.0", "w=1"), "'w=1'"),
    (TEXT.replace("d=1.0", "w=1.0"), "'w=1.0'"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(SPACE, text, complaint)


def test_bad_skeletons_are_named() -> None:
    with pytest.raises(cgir.SpecError, match="2 widths; expected 7"):
        spaces.get("mobilenetv2", widths=(16, 24))


def peer(spec: Spec) -> cgir.Graph:
    """The graph of torchvision's network, whose depthwise kernels are all 3."""
    declare()
    from torchvision.models import MobileNetV2
    from torchvision.models._utils import _make_divisible

    rows = [[1, 16, 1, 1]]
    for stage, channels, stride in zip(spec.stages, (24, 32, 64, 96, 160, 320), (2, 2, 2, 1, 2, 1), strict=True):
        blocks = ceil(stage.repeats * spec.depth)
        rows.append([stage.expansion, _make_divisible(channels * spec.width, 8), blocks, stride])
    with torch.device("meta"):
        model = MobileNetV2(num_classes=140, inverted_residual_setting=rows, dropout=0)
    return frontends.trace(model.eval(), input_shape=(1, 3, 128, 128))


def test_networks_of_kernel_3_are_those_of_torchvision() -> None:
    rng, plain = np.random.default_rng(0), SPACE.parse(TEXT)
    specs = [plain]
    for _ in range(5):
        drawn = SPACE.sample(rng)
        specs.append(drawn._replace(stages=tuple(stage._replace(kernel=3) for stage in drawn.stages)))
    for spec in specs:
        graph = SPACE.graph(spec)
        assert cgir.isomorphic(graph, peer(spec)), SPACE.format(spec)
    assert spaces.get("mobilenetv2", classes=1000).graph(plain).num_params == 3_504_872  # as torchvision lists it


def test_graphs_are_the_traced_networks() -> None:
    check_traces(SPACE, 5, seed=1)


def test_mutations_change_one_choice() -> None:
    rng, spec = np.random.default_rng(1), SPACE.parse(TEXT)
    changed: Counter[int] = Counter()
    for _ in range(600):
        child = SPACE.mutate(spec, rng)
        before, after = (
            (*(number for stage in each.stages for number in stage), each.width, each.depth) for each in (spec, child)
        )
        places = [place for place, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert len(places) == 1
        changed[places[0]] += 1
    assert len(changed) == 4 + 6 + 5 + 2  # blocks, kernels, expansions, multipliers
    assert {SPACE.sample(rng).width for _ in range(60)} == set(MULTIPLIERS)


def test_cells_name_the_blocks() -> None:
    cell = SPACE.cell_graph(SPACE.parse(TEXT.replace("d=1.0", "d=0.5").replace("r2_k3", "r2_k5")))
    assert cell.ops[1:4] == ("mbconv_e6_k5_first", "mbconv_e6_k3_first", "mbconv_e6_k3")
    assert len(cell.ops) == 2 + 1 + 2 + 2 + 2 + 2 + 1
