"""Every Keras layer alone: operators, shapes and parameters against Keras's own; the graph of its concrete function."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import torch
from keras import activations, layers
from torch import nn

import cgir
import frontends
from cgir.ops import KERAS_NAMES
from frontends.common.trace_request import TraceRequest

IMAGE, SEQUENCE, VOLUME, VECTOR, VIDEO = (8, 8, 4), (6, 4), (4, 4, 4, 2), (5,), (3, 8, 8, 4)
Make = Callable[[], Any]

# (input, operators of the canonical graph, layer)
WINDOWS: list[tuple[tuple[int, ...], str, Make]] = [
    (SEQUENCE, "Conv GELU", lambda: layers.Conv1D(6, 3, padding="causal", activation="gelu")),
    (SEQUENCE, "Conv", lambda: layers.Conv1D(6, 3, 2, "same")),
    (SEQUENCE, "Conv", lambda: layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same")),
    (IMAGE, "Conv", lambda: layers.Conv2D(6, 3, 2, "same", groups=2)),
    (IMAGE, "Conv", lambda: layers.Conv2D(6, 3, dilation_rate=2, padding="same")),
    (IMAGE, "Conv", lambda: layers.DepthwiseConv2D(3, 2, depth_multiplier=2)),
    (IMAGE, "Conv Conv ReLU", lambda: layers.SeparableConv2D(6, 3, 2, "same", depth_multiplier=2, activation="relu")),
    (VOLUME, "Conv", lambda: layers.Conv3D(4, 2)),
    (VOLUME, "ConvTranspose", lambda: layers.Conv3DTranspose(4, 2, 2)),
    *(
        (IMAGE, "ConvTranspose", lambda k=k, s=s, p=p: layers.Conv2DTranspose(6, k, s, p))
        for k, s in ((3, 2), (2, 3), (5, 2))
        for p in ("same", "valid")
    ),
    (IMAGE, "ConvTranspose", lambda: layers.Conv2DTranspose(6, 3, 2, "same", output_padding=1)),
    (SEQUENCE, "MaxPool", lambda: layers.MaxPooling1D(3, 2, "same")),
    (IMAGE, "MaxPool", lambda: layers.MaxPooling2D()),
    (VOLUME, "MaxPool", lambda: layers.MaxPooling3D()),
    (IMAGE, "AvgPool", lambda: layers.AveragePooling2D(3, 2, "same")),
    (SEQUENCE, "GlobalAvgPool", lambda: layers.GlobalAveragePooling1D()),
    (IMAGE, "GlobalMaxPool", lambda: layers.GlobalMaxPooling2D(keepdims=True)),
    (VOLUME, "GlobalMaxPool", lambda: layers.GlobalMaxPooling3D()),
    (IMAGE, "Pad", lambda: layers.ZeroPadding2D(((0, 1), (2, 3)))),
    (VOLUME, "Pad", lambda: layers.ZeroPadding3D(1)),
    (IMAGE, "Resize", lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    (IMAGE, "Resize", lambda: layers.Resizing(16, 16)),
    (IMAGE, "Resize", lambda: layers.CenterCrop(12, 12)),
]
NORMS: list[tuple[tuple[int, ...], str, Make]] = [
    *((size, "BatchNorm", lambda: layers.BatchNormalization(scale=False)) for size in (IMAGE, SEQUENCE, VECTOR)),
    *((size, "LayerNorm", lambda: layers.LayerNormalization()) for size in (IMAGE, SEQUENCE, VECTOR)),
    *((size, "RMSNorm", lambda: layers.RMSNormalization()) for size in (IMAGE, SEQUENCE, VECTOR)),
    (IMAGE, "LayerNorm", lambda: layers.LayerNormalization(axis=[1, 2, 3])),
    (IMAGE, "GroupNorm", lambda: layers.GroupNormalization(2)),
    (IMAGE, "L2Norm", lambda: layers.UnitNormalization()),
    (IMAGE, "Conv", lambda: layers.SpectralNormalization(layers.Conv2D(3, 3))),
]
DENSE: list[tuple[tuple[int, ...], str, Make]] = [
    (SEQUENCE, "Linear Tanh", lambda: layers.Dense(5, activation="tanh")),
    (SEQUENCE, "Linear", lambda: layers.EinsumDense("abc,cde->abde", output_shape=(6, 2, 3), bias_axes="de")),
    (SEQUENCE, "Linear", lambda: layers.EinsumDense("...x,xy->...y", output_shape=5)),
    (SEQUENCE, "MatMul Add", lambda: layers.EinsumDense("abc,bcd->abd", output_shape=(6, 5), bias_axes="d")),
    (SEQUENCE, "Linear", lambda: layers.EinsumDense("abc,bd->adc", output_shape=(5, 4))),
]
NOTHING: tuple[Make, ...] = (
    lambda: layers.Cropping2D(1), lambda: layers.Reshape((-1, 2)), lambda: layers.Permute((3, 1, 2)),
    lambda: layers.Flatten(),
    lambda: layers.Flatten("channels_first"), lambda: layers.CenterCrop(4, 4), lambda: layers.Identity(),
    lambda: layers.Dropout(0.1),
    lambda: layers.GaussianNoise(0.1), lambda: layers.SpatialDropout2D(0.1), lambda: layers.RandomFlip(),
    lambda: layers.RandomRotation(0.1),
    lambda: layers.RandomZoom(0.1),
)  # fmt: skip
REST: list[tuple[tuple[int, ...], str, Make]] = [
    *((IMAGE, "", make) for make in NOTHING),
    (VECTOR, "", lambda: layers.RepeatVector(3)),
    (SEQUENCE, "Compare Any Where", lambda: layers.Masking()),
    (IMAGE, "Mul Add", lambda: layers.Rescaling(1 / 255, -1.0)),
    (IMAGE, "Mul Add", lambda: layers.Rescaling([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])),
    (IMAGE, "Sub Div", lambda: layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4)),
    *(
        (IMAGE, op, lambda kind=kind: layers.ReLU(**kind))
        for op, kind in (("ReLU", {}), ("ReLU6", {"max_value": 6.0}), ("LeakyReLU", {"negative_slope": 0.1}))
    ),
    *(
        (IMAGE, op, make)
        for op, make in (("LeakyReLU", layers.LeakyReLU), ("ELU", layers.ELU), ("Softmax", layers.Softmax))
    ),
]
KINDS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
RECURRENT: list[tuple[tuple[int, ...], str, Make]] = [
    *((SEQUENCE, op, lambda kind=kind: getattr(layers, kind)(5)) for kind, op in KINDS.items()),
    *(
        (SEQUENCE, op, lambda kind=kind: getattr(layers, kind)(5, go_backwards=True, use_bias=False))
        for kind, op in KINDS.items()
    ),
    *(
        (SEQUENCE, f"{op} Concat", lambda kind=kind: layers.Bidirectional(getattr(layers, kind)(5)))
        for kind, op in KINDS.items()
    ),
    *(
        (SEQUENCE, op, lambda kind=kind: layers.Bidirectional(getattr(layers, kind)(5, return_sequences=True)))
        for kind, op in KINDS.items()
    ),
    (SEQUENCE, "LSTM Add Mul", lambda: layers.Bidirectional(layers.LSTM(5), merge_mode="ave")),
    (SEQUENCE, "LSTM", lambda: layers.RNN(layers.LSTMCell(5))),
]
FUNCTIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "sigmoid": "Sigmoid", "tanh": "Tanh", "silu": "SiLU", "softplus": "Softplus",
    "softsign": "Softsign", "selu": "SELU",
    "exponential": "Exp", "hard_sigmoid": "HardSigmoid", "hard_silu": "HardSwish", "mish": "Mish",
    "log_sigmoid": "LogSigmoid", "tanh_shrink": "TanhShrink",
    "elu": "ELU", "gelu": "GELU", "leaky_relu": "LeakyReLU", "softmax": "Softmax", "log_softmax": "LogSoftmax",
    "glu": "Sigmoid Mul",
}  # fmt: skip
# one operator here, several in the concrete function, or the other way round
ALONE: list[tuple[tuple[int, ...], str, Make]] = [
    (SEQUENCE, "Conv Conv", lambda: layers.SeparableConv1D(6, 3)),
    (SEQUENCE, "ConvTranspose", lambda: layers.Conv1DTranspose(6, 3, 2, "same")),
    (IMAGE, "AdaptiveMaxPool", lambda: layers.AdaptiveMaxPooling2D(3)),
    (IMAGE, "AdaptiveAvgPool", lambda: layers.AdaptiveAveragePooling2D(3)),
    (IMAGE, "Resize", lambda: layers.UpSampling2D(2)),
    (IMAGE, "PReLU", lambda: layers.PReLU(shared_axes=[1, 2])),
    (IMAGE, "Softmax", lambda: layers.Softmax(axis=(1, 2))),
    (IMAGE, "BatchNorm", lambda: layers.BatchNormalization(axis=2)),
    (IMAGE, "GroupNorm", lambda: layers.GroupNormalization(-1)),
    (IMAGE, "Threshold", lambda: layers.ReLU(threshold=0.1)),
    (IMAGE, "ReLU Clip", lambda: layers.ReLU(4.0)),
    (IMAGE, "Opaque", lambda: layers.ReLU(6.0, negative_slope=0.1)),
    (IMAGE, "Opaque", lambda: layers.Activation(activations.sparsemax)),
    (SEQUENCE, "GRU", lambda: layers.GRU(5, reset_after=False)),
    (SEQUENCE, "LSTM", lambda: layers.LSTM(5, activation="relu")),
    (SEQUENCE, "LSTM LSTM", lambda: layers.RNN([layers.LSTMCell(5), layers.LSTMCell(6)])),
    (SEQUENCE, "Linear", lambda: layers.TimeDistributed(layers.Dense(5))),
    (VIDEO, "Conv", lambda: layers.TimeDistributed(layers.Conv2D(5, 3))),
]
BOTH = WINDOWS + NORMS + DENSE + REST + RECURRENT


def case(row: tuple[tuple[int, ...], str, Make]) -> tuple[Any, str]:
    size, ops, make = row
    inputs = keras.Input(size, batch_size=1)
    return keras.Model(inputs, make()(inputs)), ops


def checked(model: Any) -> cgir.Graph:
    """The graph, after checks of invariants, parameters, output shape, and that the layer is as it was."""
    calls = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    graph = frontends.trace(model)
    cgir.verify(graph)
    cgir.verify(frontends.trace(model, raw=True))
    assert calls == [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    assert graph.num_params == sum(prod(weight.shape) for weight in model.trainable_weights)
    assert prod(graph.nodes[-1].shape) == prod(n or 1 for n in model.output_shape)
    return graph


def ops_of(graph: cgir.Graph) -> str:
    return " ".join(node.op for node in graph.nodes if node.op not in ("Input", "Output"))


def ids(rows: list[tuple[tuple[int, ...], str, Make]]) -> list[str]:
    return [f"{index}-{row[1].replace(' ', '+') or 'none'}" for index, row in enumerate(rows)]


@pytest.mark.parametrize("row", BOTH + ALONE, ids=ids(BOTH + ALONE))
def test_layer_is_its_operators(row: tuple[tuple[int, ...], str, Make]) -> None:
    model, ops = case(row)
    assert ops_of(checked(model)) == ops


@pytest.mark.parametrize("size", [IMAGE, SEQUENCE, VOLUME, VECTOR], ids=str)
def test_layers_equal_their_concrete_function(size: tuple[int, ...]) -> None:
    """All layers of one kind of input side by side, since TensorFlow takes its time for every function."""
    from frontends.keras import function_importer

    inputs = keras.Input(size, batch_size=1)
    first = {2: layers.Conv1D, 3: layers.Conv2D, 4: layers.Conv3D}.get(len(size))
    x = first(size[-1], 1)(inputs) if first else layers.Dense(size[-1])(inputs)
    model = keras.Model(inputs, [make()(x) for own, _, make in WINDOWS + NORMS + DENSE + REST if own == size])
    graph, other = frontends.trace(model), cgir.canonicalize(function_importer.trace(model, TraceRequest()))
    assert cgir.isomorphic(graph, other), cgir.diff(graph, other)


def test_the_names_of_the_operator_table_are_those_of_keras_classes() -> None:
    found, stack = set(), [keras.Operation]
    while stack:
        kinds = stack.pop().__subclasses__()
        found |= {kind.__name__ for kind in kinds}
        stack += kinds
    assert set(KERAS_NAMES) <= found


@pytest.mark.parametrize("row", RECURRENT[::4], ids=ids(RECURRENT[::4]))
def test_recurrent_layers_equal_their_concrete_function(row: tuple[tuple[int, ...], str, Make]) -> None:
    """The operators again, found in TensorFlow's loops."""
    from frontends.keras import function_importer

    model, _ = case(row)
    graph, other = frontends.trace(model), cgir.canonicalize(function_importer.trace(model, TraceRequest()))
    assert cgir.isomorphic(graph, other), cgir.diff(graph, other)


@pytest.mark.parametrize(
    ("make", "attrs"),
    [
        (lambda: layers.SimpleRNN(5, activation="relu"), {"activations": ("relu",)}),
        (lambda: layers.SimpleRNN(5, activation=None), {"activations": ("linear",)}),
        (lambda: layers.LSTM(5, activation="softsign"), {"activations": ("sigmoid", "softsign", "softsign")}),
        (lambda: layers.LSTM(5, recurrent_activation="hard_sigmoid"), {"activations": ("hardsigmoid", "tanh", "tanh")}),
        (lambda: layers.GRU(5, activation="elu"), {"activations": ("sigmoid", "elu")}),
        (lambda: layers.GRU(5, go_backwards=True), {"reverse": True}),
        (lambda: layers.Bidirectional(layers.LSTM(5, activation="relu")), {"activations": ("sigmoid", "relu", "relu")}),
    ],
)
def test_activations_and_direction_tell_recurrent_layers_apart(make: Make, attrs: dict[str, Any]) -> None:
    """The same from Keras's layer and from TensorFlow's loop; no attribute where a setting is the default."""
    from frontends.keras import function_importer

    model, _ = case((SEQUENCE, "", make))
    graph, other = checked(model), cgir.canonicalize(function_importer.trace(model, TraceRequest()))
    assert cgir.isomorphic(graph, other), cgir.diff(graph, other)
    node = graph.nodes[1]
    settings = {"hidden": 5, "layers": 1, "bidirectional": isinstance(model.layers[1], layers.Bidirectional)}
    assert dict(node.attrs) == settings | attrs


def test_cells_of_both_directions_that_differ_stay_two() -> None:
    backward = layers.LSTM(5, activation="relu", go_backwards=True)
    graph = checked(case((SEQUENCE, "", lambda: layers.Bidirectional(layers.LSTM(5), backward_layer=backward)))[0])
    assert ops_of(graph) == "LSTM LSTM Concat"


def test_activations_that_are_not_of_keras_are_followed() -> None:
    graph = checked(case((SEQUENCE, "", lambda: layers.SimpleRNN(5, activation=lambda x: x * x)))[0])
    assert ops_of(graph) == "Linear Linear Add Mul Loop"
    assert graph.flops == 6 * 2 * (4 * 5 + 5 * 5)


@pytest.mark.parametrize(("name", "op"), FUNCTIONS.items(), ids=list(FUNCTIONS))
def test_activation_functions(name: str, op: str) -> None:
    inputs = keras.Input((6, 4))
    assert ops_of(frontends.trace(keras.Model(inputs, layers.Dense(4, activation=name)(inputs)))) == f"Linear {op}"


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average", "Concatenate"])
def test_merge_layers(kind: str) -> None:
    op = {"Subtract": "Sub", "Multiply": "Mul", "Average": "Add Mul", "Concatenate": "Concat"}.get(kind, kind)
    inputs = [keras.Input((6, 4)), keras.Input((6, 4))]
    model = keras.Model(inputs, getattr(layers, kind)()(inputs))
    graph = checked(model)
    assert ops_of(graph) == op
    assert graph.nodes[2].inputs == (0, 1)


def test_attention_layers() -> None:
    inputs = keras.Input((5, 8))
    packed = checked(keras.Model(inputs, layers.MultiHeadAttention(2, 4)(inputs, inputs)))
    assert ops_of(packed) == "Linear Attention Linear"
    expected = frontends.trace(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).self_attn.eval(), (torch.zeros(1, 5, 8),) * 3
    )
    assert packed.flops == 2 * 5 * 8 * 24 + 2 * (2 * 2 * 5 * 5 * 4) + 2 * 5 * 8 * 8 == expected.flops
    grouped = checked(keras.Model(inputs, layers.GroupQueryAttention(4, 4, 2)(inputs, inputs)))
    assert ops_of(grouped) == "Linear Attention Linear"
    assert next(node.in_shapes for node in grouped.nodes if node.op == "Attention") == ((4, 5, 4),) * 3
    scores = checked(
        keras.Model(inputs, layers.MultiHeadAttention(2, 4)(inputs, inputs, return_attention_scores=True)[0])
    )
    assert "Softmax" in ops_of(scores) or "Attention" in ops_of(scores)
    assert ops_of(checked(keras.Model(inputs, layers.Dot((2, 2))([inputs, inputs])))) == "MatMul"
    assert "Tanh" in ops_of(checked(keras.Model(inputs, layers.AdditiveAttention()([inputs, inputs]))))


def test_masks_that_depend_on_inputs_are_read_by_attention() -> None:
    inputs, mask = keras.Input((5, 8)), keras.Input((5, 5), dtype="bool")
    model = keras.Model([inputs, mask], layers.MultiHeadAttention(2, 4)(inputs, inputs, attention_mask=mask))
    attention = next(node for node in frontends.trace(model).nodes if node.op == "Attention")
    assert len(attention.inputs) == 4
    assert attention.in_shapes[3] == (1, 5, 5)


def test_states_of_recurrent_layers() -> None:
    """An encoder's last states start a decoder: two more operands, shaped as PyTorch has them."""
    source, target = keras.Input((6, 4)), keras.Input((7, 4))
    _, *states = layers.LSTM(3, return_state=True)(source)
    graph = checked(keras.Model([source, target], layers.LSTM(3)(target, initial_state=states)))

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = (
                nn.LSTM(4, 3, batch_first=True, bias=False),
                nn.LSTM(4, 3, batch_first=True, bias=False),
            )

        def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return self.decoder(target, self.encoder(source)[1])[0][:, -1]

    expected = frontends.trace(Module(), (torch.zeros(2, 6, 4), torch.zeros(2, 7, 4)))
    assert [(node.op, node.inputs, node.in_shapes) for node in graph.nodes] == [
        (node.op, node.inputs, node.in_shapes) for node in expected.nodes
    ]


def test_convolution_flops_equal_those_of_pytorch() -> None:
    """Geometry and groups: the same convolution by either framework."""
    pairs = (
        (layers.Conv2D(6, 3, 2, groups=2), nn.Conv2d(4, 6, 3, 2, groups=2)),
        (layers.Conv2D(6, (1, 5), padding="same"), nn.Conv2d(4, 6, (1, 5), padding=(0, 2))),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), nn.Conv2d(4, 8, 3, groups=4)),
        (layers.Conv2DTranspose(6, 2, 2), nn.ConvTranspose2d(4, 6, 2, 2)),
        (layers.Conv2DTranspose(6, 3, 2, "valid"), nn.ConvTranspose2d(4, 6, 3, 2)),
    )
    for layer, module in pairs:
        inputs = keras.Input((9, 8, 4))
        found = checked(keras.Model(inputs, layer(inputs)))
        expected = frontends.trace(module, torch.zeros(1, 4, 9, 8))
        assert cgir.isomorphic(found, expected), cgir.diff(found, expected)
        assert found.flops == expected.flops
