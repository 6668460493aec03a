"""Tracing PyTorch modules, against PyTorch's own parameter counts, `FlopCounterMode` and `torch.export`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_networks import (
    META,
    NETWORKS,
    Pair,
    TiedLanguageModel,
    TwoInputs,
    build,
    meta,
    sequential_transformer,
    tokens,
)
from torch_samples import Function

import cgir
import frontends
from frontends.reference import mobilenet_v3_small, resnet50, vit_b16


def trained_scalars(model: nn.Module) -> int:
    return sum(param.numel() for param in model.parameters())


def counted_flops(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """What PyTorch's own counter says, on the meta device, where it sees inside attention.

    Einsums are contracted from left to right, whatever else is installed.
    """
    with torch.no_grad(), torch.backends.opt_einsum.flags(enabled=False), FlopCounterMode(display=False) as counter:
        model.to(META)(*inputs)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_flops_are_pytorchs_own(name: str) -> None:
    model, inputs = build(name)
    raw = frontends.trace(model, inputs, raw=True)
    graph = cgir.canonicalize(raw)
    cgir.verify(raw)
    cgir.verify(graph)
    assert "Opaque" not in {node.op for node in graph.nodes}
    assert raw.num_params == graph.num_params == trained_scalars(model)
    assert raw.flops == graph.flops == counted_flops(model, inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_size_leaves_no_trace(name: str) -> None:
    model, (one,) = build(name)
    axis = 1 if name.endswith("sequence first") else 0
    four = one.repeat_interleave(4, axis)
    assert frontends.trace(model, four, batch=axis).nodes == frontends.trace(model, one, batch=axis).nodes


@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_evaluation_give_one_graph(name: str) -> None:
    model, inputs = build(name)
    training = frontends.trace(model.train(), inputs)
    assert training.nodes == frontends.trace(model.eval(), inputs).nodes
    assert not model.training


@pytest.mark.parametrize("name", ["shared blocks", "vit", "convnext", "unet", "densenet", "transformer", "mobilenet"])
def test_operators_are_those_of_torch_export(name: str) -> None:
    model, inputs = build(name)
    exported = torch.export.export(model.eval().to(META), inputs, strict=False)
    names = [
        node.target.__name__.split(".")[0].rstrip("_") for node in exported.graph.nodes if node.op == "call_function"
    ]  # type: ignore[union-attr]
    expected = Counter(cgir.ops.TORCH_NAMES.get(name, name) for name in names)
    graph = frontends.trace(model, inputs, raw=True)
    ignored = {op.name for op in cgir.ops.OPS.values() if op.category in ("movement", "identity", "io", "source")}
    found = Counter(node.op for node in graph.nodes)
    for op in {*expected, *found} - ignored:
        assert found[op] == expected[op], op


def test_reference_networks_have_their_published_costs() -> None:
    with META:
        resnet, vit, mobilenet = resnet50(), vit_b16(), mobilenet_v3_small()
    assert frontends.trace(mobilenet, input_shape=(1, 3, 224, 224)).num_params == 2_542_856
    graph = frontends.trace(resnet, input_shape=(1, 3, 224, 224))
    assert graph.num_params == 25_557_032
    assert round(graph.flops / 2e9, 3) == 4.089
    assert graph.op_counts() == {
        "Conv": 53,
        "BatchNorm": 53,
        "ReLU": 49,
        "Add": 16,
        "Input": 1,
        "MaxPool": 1,
        "GlobalAvgPool": 1,
        "Linear": 1,
        "Output": 1,
    }
    assert graph.num_edges == 191
    graph = frontends.trace(vit, input_shape=(1, 3, 224, 224))
    assert graph.num_params == 86_567_656
    assert round(graph.flops / 2e9, 3) == 17.564


# --- attention


def attention_way(need: bool, average: bool) -> Callable[[Any, Tensor], Any]:
    return lambda self, x: self.part(x, x, x, need_weights=need, average_attn_weights=average)[0]


def test_multi_head_attention_is_one_graph_however_it_is_called() -> None:
    attention = nn.MultiheadAttention(16, 4, dropout=0.1, batch_first=True)
    models = [
        Function(attention_way(need, average), part=attention)
        for need, average in ((True, True), (True, False), (False, True))
    ]
    graphs = [frontends.trace(model.train(training), meta(2, 5, 16)) for model in models for training in (True, False)]
    assert graphs[0].op_counts() == {"Linear": 2, "Input": 1, "Attention": 1, "Output": 1}
    attended = next(node for node in graphs[0].nodes if node.op == "Attention")
    assert attended.in_shapes == ((4, 5, 4),) * 3
    assert attended.module == "part"
    assert all(cgir.isomorphic(graphs[0], other) for other in graphs[1:])


def test_weights_that_are_returned_are_an_output() -> None:
    graph = frontends.trace(nn.MultiheadAttention(16, 4, batch_first=True), (x := meta(1, 5, 16), x, x))
    assert graph.op_counts()["Output"] == 2
    assert graph.op_counts()["Input"] == 1  # one tensor given three times


def test_transformer_encoder_is_its_layers_written_out() -> None:
    model = sequential_transformer(batch_first=True, activation="gelu", norm_first=True)

    def written_out(self: Any, x: Tensor) -> Tensor:
        for layer in self.model.layers:
            y = layer.norm1(x)
            heads = (
                F.linear(y, layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
                .unflatten(-1, (3, 4, 4))
                .permute(2, 0, 3, 1, 4)
            )
            x = x + layer.self_attn.out_proj(
                F.scaled_dot_product_attention(*heads.unbind(0)).transpose(1, 2).flatten(2)
            )
            x = x + layer.linear2(F.gelu(layer.linear1(layer.norm2(x))))
        return x

    expected = frontends.trace(Function(written_out, model=model), meta(3, 7, 16))
    for training in (True, False):
        assert cgir.isomorphic(frontends.trace(model.train(training), meta(3, 7, 16)), expected)


def test_constant_masks_change_nothing_and_masks_that_are_inputs_are_read() -> None:
    model = sequential_transformer(batch_first=True)
    plain = frontends.trace(model, meta(2, 7, 16))
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    assert cgir.isomorphic(
        plain,
        frontends.trace(
            Function(lambda self, x: self.model(x, mask=mask, is_causal=True), model=model), meta(2, 7, 16)
        ),
    )
    given = frontends.trace(model, {"src": meta(2, 7, 16), "mask": meta(7, 7), "is_causal": False})
    assert [node.name for node in given.nodes if node.op == "Input"] == ["src", "mask"]
    assert all(len(node.inputs) == 4 for node in given.nodes if node.op == "Attention")


def test_transformer_decoder_reads_the_memory() -> None:
    model = nn.Transformer(16, 4, 1, 1, 32, batch_first=True)
    source, target = meta(1, 9, 16), meta(1, 7, 16)
    graph = frontends.trace(model, (source, target))
    assert graph.num_params == trained_scalars(model)
    assert graph.op_counts()["Attention"] == 3
    assert graph.flops == counted_flops(model, (source, target))


# --- inputs and outputs


def test_nested_inputs_and_outputs() -> None:
    pair = Pair(meta(2, 3, 8, 8), {"table": meta(2, 6)})
    graph = frontends.trace(TwoInputs(), {"pair": pair, "scale": meta(2, 4)})
    cgir.verify(graph)
    assert [(node.name, node.shape) for node in graph.nodes if node.op == "Input"] == [
        ("pair.image", (3, 8, 8)),
        ("pair.meta.table", (6,)),
        ("scale", (4,)),
    ]
    assert [node.name for node in graph.nodes if node.op == "Output"] == [
        "output.sum",
        "output.rest.0.x",
        "output.rest.0.y",
    ]
    positional = frontends.trace(TwoInputs(), (pair, meta(2, 4)))
    assert positional.nodes == graph.nodes


def test_input_shapes_stand_for_float_tensors() -> None:
    model = Function(
        lambda self, x, y: F.linear(x, self.weight) + y, weight=nn.Parameter(torch.zeros(4, 3, dtype=torch.float16))
    )
    graph = frontends.trace(model, input_shape=((2, 3), (2, 4)), name="two")
    assert graph == frontends.trace(model, (meta(2, 3).half(), meta(2, 4).half()), name="two")
    assert graph.name == "two"


@pytest.mark.parametrize(
    ("first", "shape", "expected"),
    [
        (lambda m, x: m.conv(x), (2, 8, 5, 6), (8, 5, 6)),
        (lambda m, x: m.linear(x), (2, 5, 8), (8, 5)),
        (lambda m, x: m.linear(x), (2, 5, 6, 8), (8, 5, 6)),
        (lambda m, x: m.conv(x.permute(0, 3, 1, 2)), (2, 5, 6, 8), (8, 5, 6)),
        (lambda m, x: m.conv(x), (8, 5, 6), (8, 5, 6)),
        (lambda m, x: m.linear(x), (3, 8), (8,)),
    ],
)
def test_channels_of_an_input_come_first(
    first: Callable[..., Tensor], shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    graph = frontends.trace(Function(first, conv=nn.Conv2d(8, 4, 3), linear=nn.Linear(8, 4)), input_shape=shape)
    assert graph.nodes[0].shape == expected
    assert next(node.in_shapes for node in graph.nodes if node.op in ("Conv", "Linear")) == (expected,)


def test_parameters_that_nothing_reads_are_noted() -> None:
    model = Function(lambda self, x: self.used(x), used=nn.Linear(3, 4), spare=nn.Linear(5, 7))
    assert dict(frontends.trace(model, meta(1, 3), raw=True).notes)["unused parameters"] == 5 * 7 + 7


def test_parameters_are_known_by_their_first_name() -> None:
    graph = frontends.trace(TiedLanguageModel(), tokens(1, 8))
    assert {param.id for node in graph.nodes for param in node.params} == {
        "embedding.weight",
        "positions",
        "norm.weight",
        "norm.bias",
    }
    paths = {node.module for node in frontends.trace(resnet50(), input_shape=(1, 3, 32, 32)).nodes}
    assert {"0", "4.conv1", "4", "4.downsample.1"} <= paths


# --- what a node says


def node_of(function: Callable[..., Any], *inputs: Tensor, **parts: Any) -> cgir.Node:
    """The only node of a function that is neither an end nor a movement."""
    graph = frontends.trace(Function(function, **parts), inputs)
    cgir.verify(graph)
    (node,) = (node for node in graph.nodes if node.op not in ("Input", "Output"))
    return node


def reduced_by_channel(x: Tensor, reduce: str) -> Tensor:
    index = (torch.arange(8) % 3).view(1, 8, 1, 1).expand(len(x), 8, 6, 6)
    return torch.zeros(len(x), 3, 6, 6).scatter_reduce(1, index, x, reduce=reduce, include_self=False)


IMAGE = meta(2, 8, 6, 6)
WINDOW: dict[str, Any] = {"kernel": (3, 3), "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
CALLS: list[tuple[Callable[..., Any], str, tuple[int, ...], dict[str, Any]]] = [
    (lambda m, x: F.conv2d(x, torch.ones(4, 4, 3, 3), groups=2), "Conv", (4, 4, 4), WINDOW | {"groups": 2}),
    (lambda m, x: F.conv2d(x, torch.ones(4, 8, 3, 3), dilation=2, padding="same"), "Conv", (4, 6, 6),
     WINDOW | {"groups": 1, "dilation": (2, 2), "padding": ((2, 2), (2, 2))}),
    (lambda m, x: F.conv2d(x, torch.ones(4, 8, 3, 3), None, (2, 1), "valid"),
     "Conv", (4, 2, 4), WINDOW | {"groups": 1, "stride": (2, 1)}),
    (lambda m, x: F.conv_transpose2d(x, torch.ones(8, 4, 3, 3), None, 2, 1, 1), "ConvTranspose", (4, 12, 12),
     WINDOW | {"groups": 1, "stride": (2, 2), "padding": ((1, 1), (1, 1)), "output_padding": (1, 1)}),
    (lambda m, x: F.max_pool2d(x, 3, 2, 1), "MaxPool", (8, 3, 3),
     WINDOW | {"stride": (2, 2), "padding": ((1, 1), (1, 1))}),
    (lambda m, x: F.max_pool2d(x, 3, ceil_mode=True, stride=2), "MaxPool", (8, 3, 3), WINDOW | {"stride": (2, 2)}),
    (lambda m, x: F.max_pool2d(x, 3, return_indices=True)[0], "MaxPool", (8, 2, 2), WINDOW | {"stride": (3, 3)}),
    (lambda m, x: F.avg_pool2d(x, 3, 1), "AvgPool", (8, 4, 4), {k: v for k, v in WINDOW.items() if k != "dilation"}),
    (lambda m, x: F.avg_pool2d(x, 2, 2, 1, False, False), "AvgPool", (8, 4, 4),
     {"kernel": (2, 2), "stride": (2, 2), "padding": ((1, 1), (1, 1)), "include_pad": False}),
    (lambda m, x: F.adaptive_avg_pool2d(x, (4, None)), "AdaptiveAvgPool", (8, 4, 6), {}),
    (lambda m, x: F.adaptive_max_pool2d(x, 1).flatten(1), "GlobalMaxPool", (8,), {}),
    (lambda m, x: torch.max(x), "ReduceMax", (), {"dims": 4}),
    (lambda m, x: x.sum(dim=(-1, 1)), "Sum", (6,), {"dims": 2}),
    (lambda m, x: torch.max(x, x), "Maximum", (8, 6, 6), {}),
    (lambda m, x: x - 3, "Add", (8, 6, 6), {"scalar": -3.0}),
    (lambda m, x: 3 - x, "Sub", (8, 6, 6), {"scalar": 3.0, "reverse": True}),
    (lambda m, x: torch.rsub(x, 3), "Sub", (8, 6, 6), {"scalar": 3.0, "reverse": True}),
    (lambda m, x: x / 4, "Mul", (8, 6, 6), {"scalar": 0.25}),
    (lambda m, x: 4 / x, "Div", (8, 6, 6), {"scalar": 4.0, "reverse": True}),
    (lambda m, x: x**2, "Pow", (8, 6, 6), {"scalar": 2.0}),
    (lambda m, x: torch.div(x, 2, rounding_mode="floor"), "FloorDiv", (8, 6, 6), {"scalar": 2.0}),
    (lambda m, x: x * torch.tensor(2.0), "Mul", (8, 6, 6), {"scalar": 2.0}),
    (lambda m, x: torch.add(x, 3, alpha=2), "Add", (8, 6, 6), {"scalar": 6.0}),
    (lambda m, x: F.leaky_relu(x, 0.2), "LeakyReLU", (8, 6, 6), {"slope": 0.2}),
    (lambda m, x: F.gelu(x, approximate="tanh"), "GELU", (8, 6, 6), {"tanh": True}),
    (lambda m, x: x.clamp(-1, 2), "Clip", (8, 6, 6), {"min": -1.0, "max": 2.0}),
    (lambda m, x: F.hardtanh(x, 0, 6), "ReLU6", (8, 6, 6), {}),
    (lambda m, x: F.softmax(x, dim=1), "Softmax", (8, 6, 6), {"size": 8}),
    (lambda m, x: F.group_norm(x, 4), "GroupNorm", (8, 6, 6), {"groups": 4}),
    (lambda m, x: F.layer_norm(x, (8, 6, 6)), "LayerNorm", (8, 6, 6), {"dims": 3}),
    (lambda m, x: F.interpolate(x, (3, 4), mode="bicubic"), "Resize", (8, 3, 4), {"mode": "bicubic"}),
    (lambda m, x: F.pad(x, (1, 2, 3, 4)), "Pad", (8, 13, 9),
     {"mode": "constant", "padding": ((3, 4), (1, 2)), "value": 0.0}),
    (lambda m, x: F.pad(x, (0, 0, 0, 0, 4, 4)), "Pad", (16, 6, 6),
     {"mode": "constant", "padding": ((4, 4), (0, 0), (0, 0)), "value": 0.0}),
    (lambda m, x: torch.matmul(x, x.mT), "MatMul", (8, 6, 6), {"inner": 6}),
    (lambda m, x: torch.einsum("bchw,bdhw->bcd", x, x), "MatMul", (8, 8), {"inner": 36}),
    (lambda m, x: torch.matrix_exp(x), "Opaque", (8, 6, 6), {"name": "torch.linalg.matrix_exp"}),
    (lambda m, x: torch.cat([x[:, 1:3], x], 1), "Concat", (10, 6, 6), {}),
    (lambda m, x: reduced_by_channel(x, "amax"), "ReduceMax", (3, 6, 6), {}),
    (lambda m, x: reduced_by_channel(x, "amin"), "ReduceMin", (3, 6, 6), {}),
    (lambda m, x: reduced_by_channel(x, "sum"), "Scatter", (3, 6, 6), {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "op", "shape", "attrs"), CALLS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_attributes(function: Callable[..., Any], op: str, shape: tuple[int, ...], attrs: dict[str, Any]) -> None:
    node = node_of(function, IMAGE)
    assert (node.op, node.shape, dict(node.attrs)) == (op, shape, attrs)


def test_attention_knows_whether_it_is_causal() -> None:
    model = Function(lambda m, x: F.scaled_dot_product_attention(x, x, x, is_causal=True))
    (node,) = (node for node in frontends.trace(model, meta(1, 2, 5, 4), raw=True).nodes if node.op == "Attention")
    assert (node.attr("causal"), node.in_shapes) == (True, ((2, 5, 4),) * 3)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells(cell: type[nn.Module]) -> None:
    model = cell(5, 7)
    node = node_of(lambda m, x: m.cell(x)[0] if cell is nn.LSTMCell else m.cell(x), meta(2, 5), cell=model)
    assert (node.attr("hidden"), node.attr("layers"), node.shape) == (7, 1, (7,))
    assert cgir.cost.node_flops(node) == 2 * sum(math.prod(p.shape) for p in model.parameters() if p.dim() == 2)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 3, "bidirectional": True}, {"batch_first": True, "bias": False}]
)
def test_recurrent_shapes_are_pytorchs(cell: type[nn.RNNBase], options: dict[str, Any]) -> None:
    model = cell(5, 7, **options)
    found: list[Any] = []
    frontends.trace(Function(lambda m, x: found.extend([m.rnn(x), x]) or x.relu(), rnn=model), meta(2, 3, 5))
    shapes = [tuple(t.shape) for t in (found[0][0], *(found[0][1] if isinstance(found[0][1], tuple) else found[0][1:]))]
    output, state = model(torch.zeros(2, 3, 5))
    assert shapes == [tuple(t.shape) for t in (output, *(state if isinstance(state, tuple) else (state,)))]


def test_computed_weights_keep_their_parameters() -> None:
    for wrap in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm):
        model = wrap(nn.Linear(5, 7))
        graph = frontends.trace(model, meta(2, 5))
        assert [node.op for node in graph.nodes] == ["Input", "Linear", "Output"]
        assert graph.num_params == trained_scalars(model)
