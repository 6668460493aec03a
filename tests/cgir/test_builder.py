"""`GraphBuilder`: shapes and parameters that `verify` and PyTorch agree with."""

import pytest

from cgir import GraphBuilder, InvalidGraphError, verify
from cgir.graph import Param


def test_builder_infers_shapes_that_verify_accepts():
    b = GraphBuilder("net")
    x = b.input((3, 33, 31))
    y = b.relu(b.batch_norm(b.conv(x, 8, 3, stride=2, bias=True)), "SiLU")
    assert b.shape(y) == (8, 17, 16)
    z = b.max_pool(y, 3, 2, 1)
    w = b.avg_pool(y, 3, 2, 1, include_pad=False)
    joined = b.concat(b.add(z, w), z)
    assert b.shape(joined) == (16, 9, 8)
    b.output(b.linear(b.global_avg_pool(joined), 10))
    graph = b.build()
    verify(graph)
    assert graph.nodes[w].attr("include_pad") is False
    assert graph.nodes[1].params == (Param("1.0", (8, 3, 3, 3)), Param("1.1", (8,)))
    assert b.add(z) == z
    assert b.concat(z) == z
    with pytest.raises(InvalidGraphError, match="8 -> 9 channels cannot be split into 4 groups"):
        b.conv(y, 9, 3, groups=4)


def test_builder_shapes_are_torch_s():
    torch = pytest.importorskip("torch")
    for size, kernel, stride, padding in [(9, 3, 2, 1), (8, 3, 2, 0), (7, 5, 3, 2), (10, 1, 2, 0), (6, 2, 2, 0)]:
        b = GraphBuilder()
        x = b.input((2, size, size))
        image = torch.zeros(1, 2, size, size, device="meta")
        pad = min(padding, kernel // 2)
        found = [
            b.conv(x, 4, kernel, stride, padding),
            b.max_pool(x, kernel, stride, pad),
            b.avg_pool(x, kernel, stride, pad),
        ]
        conv = torch.nn.Conv2d(2, 4, kernel, stride, padding, device="meta")
        layers = conv, torch.nn.MaxPool2d(kernel, stride, pad), torch.nn.AvgPool2d(kernel, stride, pad)
        assert [b.shape(i) for i in found] == [tuple(layer(image).shape[1:]) for layer in layers]
