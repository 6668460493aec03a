"""Node features and categories, by hand."""

from math import log2

import numpy as np
import pytest
from cgir_samples import resnet50, small_graph

from cgir.graph import NodeKind, attributes
from cgir.node_features import FEATURE_NAMES, VARIANTS, categories, extent, node_features


def test_features_by_hand():
    graph = resnet50()
    kinds = [graph.nodes[1].kind, graph.nodes[0].kind, graph.nodes[-2].kind]
    rows = node_features(kinds)
    assert rows.dtype == np.float32
    conv = dict(zip(FEATURE_NAMES, rows[0], strict=True))
    expected = {
        "out_channels": 64, "out_height": 112, "in_channels": 3, "in_width": 224, "num_inputs": 1, "kernel_height": 7,
        "stride": 2, "dilation": 1,
        "groups": 1, "params": 64 * 3 * 49, "flops": 2 * 64 * 112 * 112 * 3 * 49,
    }  # fmt: skip
    for name, value in expected.items():
        assert conv[name] == pytest.approx(log2(1 + value) / 8, rel=1e-6), name
    assert conv["bias"] == 0
    assert rows[2][FEATURE_NAMES.index("bias")] == 1
    assert np.isfinite(node_features([node.kind for node in small_graph().nodes])).all()
    assert node_features([]).shape == (0, len(FEATURE_NAMES))


def test_extent_of_any_rank():
    assert [extent(shape) for shape in ((), (5,), (5, 6), (5, 6, 7), (5, 6, 7, 8))] == [
        (1, 1, 1),
        (5, 1, 1),
        (5, 6, 1),
        (5, 6, 7),
        (5, 6, 56),
    ]


def test_variants_of_operators():
    def variants(kernel, stride, dilation, groups):
        return categories(
            [
                NodeKind(
                    "Conv",
                    ((8, 9, 9),),
                    (8, 9, 9),
                    (),
                    attributes({"kernel": kernel, "stride": stride, "dilation": dilation, "groups": groups}),
                )
            ]
        )[0, 1:]

    assert tuple(VARIANTS) == ("kernel_height", "kernel_width", "stride", "dilation", "grouping")
    assert variants((3, 3), (2, 2), (1, 1), 1).tolist() == [3, 3, 2, 1, 0]
    assert variants((1, 7), (1, 1), (2, 2), 8).tolist() == [1, 7, 1, 2, 2]
    assert variants((31, 31), (16, 16), (5, 5), 4).tolist() == [7, 7, 3, 2, 1]
    assert categories([NodeKind("ReLU", ((8,),), (8,), (), ())])[0, 1:].tolist() == [0] * 5
    assert categories([]).shape == (0, 6)
