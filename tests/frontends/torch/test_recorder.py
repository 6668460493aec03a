"""What tracing must leave alone, in-place writes and views, and what it says when it cannot follow a model."""

from __future__ import annotations

import importlib.util
import operator
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, library, nn
from torch_samples import Function

import cgir
import frontends
from cgir import Gap
from frontends.torch import recorder
from frontends.torch.call_kinds import CallKind
from frontends.torch.conversion import Conversion
from frontends.torch.error_location import LIBRARIES

IMAGE = (2, 8, 6, 6)


# --- leaving no trace


class Restless(nn.Module):
    """Writes to everything that it owns, draws random numbers, and keeps what it saw."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.norm = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
        self.old = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.rand(4))
        self.register_buffer("steps", torch.zeros(3))
        self.plain = torch.ones(4)
        self.seen: list[Any] = []
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.steps[0] = 5
        self.steps[1:].mul_(2)
        self.plain.add_(torch.rand(4))
        self.conv.weight.data = self.conv.weight.data - self.conv.weight.data.mean()
        self.conv.weight.data.clamp_(-1, 1)
        with torch.no_grad():
            self.scale.mul_(0.5)
            self.old.weight.copy_(self.old.weight.softmax(-1))
        x = self.drop(self.bn(self.conv(x)))
        self.last, self.bn.extra = x, x.mean()
        self.seen.append(x)
        self.scale_now = self.scale * random.random() * np.random.rand()
        if self.fails:
            raise KeyError("on purpose")
        return self.old(self.norm(x.mean((2, 3)))) * self.scale_now + torch.randn(4) + self.plain


def snapshot(model: nn.Module) -> list[Any]:
    parts: list[Any] = []
    for module in model.modules():
        parts.append([(key, id(value)) for key, value in vars(module).items()])
        for value in vars(module).values():
            if isinstance(value, dict):
                parts.append([(key, id(item)) for key, item in value.items()])
            if isinstance(value, list):
                parts.append([id(item) for item in value])
    tensors = [*model.state_dict().values(), model.plain]
    parts += [(t.numpy().tobytes(), t.data_ptr(), t.device, t.dtype) for t in tensors]
    return [*parts, torch.get_rng_state().numpy().tobytes(), random.getstate(), str(np.random.get_state())]


@pytest.fixture
def _seeded() -> Iterator[None]:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_module_is_afterwards_what_it_was(training: bool, fails: bool) -> None:
    model = Restless(fails).train(training)
    x = torch.rand(2, 3, 8, 8)
    before, given = snapshot(model), x.clone()
    if fails:
        with pytest.raises(cgir.TraceError, match="on purpose"):
            frontends.trace(model, x)
    else:
        frontends.trace(model, x)
    assert snapshot(model) == before
    assert torch.equal(x, given)
    assert model.training is training


@pytest.mark.usefixtures("_seeded")
def test_hooks_of_the_user_run_and_stay() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    calls: list[str] = []
    handle = model[0].register_forward_hook(lambda module, args, result: calls.append("hook") or result.tanh())
    graph = frontends.trace(model, torch.zeros(1, 3))
    assert [node.op for node in graph.nodes] == ["Input", "Linear", "Tanh", "ReLU", "Output"]
    assert calls == ["hook"]
    assert list(model[0]._forward_hooks) == [handle.id]
    assert not model[1]._forward_hooks
    assert not model[1]._forward_pre_hooks


def test_weights_are_never_read() -> None:
    """A module on the meta device, which has no values to read, gives the same graph."""
    with torch.device("meta"):
        hollow = Restless(fails=False)
        hollow.plain = torch.ones(4)
    full = Restless(fails=False)
    x = torch.zeros(2, 3, 8, 8)
    assert cgir.isomorphic(frontends.trace(hollow, x), frontends.trace(full, x))


# --- in-place writes and views


def edges(function: Callable[..., Any], **parts: Any) -> list[str]:
    """Nodes of the raw graph without movement, as "Op(inputs)", inputs written the same way."""
    graph = frontends.trace(Function(function, **parts), torch.empty(IMAGE), raw=True)
    cgir.verify(graph)
    texts: list[str] = []
    for node in graph.nodes:
        inputs = ", ".join(texts[i] for i in node.inputs)
        moved = cgir.ops.OPS[node.op].category in ("movement", "identity")
        texts.append(texts[node.inputs[0]] if moved else "x" if node.op == "Input" else f"{node.op}({inputs})")
    return [
        text.removeprefix("Output(").removesuffix(")")
        for node, text in zip(graph.nodes, texts, strict=True)
        if node.op == "Output"
    ]


def _halves(m: nn.Module, x: Tensor) -> Tensor:
    out = x.new_zeros(2, 16, 6, 6)
    out[:, :8] = x.exp()
    out[:, 8:] = x.tanh()
    return out


def _halves_of_a_constant(m: nn.Module, x: Tensor) -> Tensor:
    out = torch.zeros(2, 16, 6, 6, device=x.device)
    second = out[:, 8:]
    out[:, :8] = x.exp()
    second.copy_(x.tanh())
    return out


def _row(m: nn.Module, x: Tensor) -> Tensor:
    y = x.exp()
    y[:, 0] += x[:, 1]
    return y


def _view_in_place(m: nn.Module, x: Tensor) -> Tensor:
    y = x.exp()
    y.view(-1).relu_()
    return y


def _base_in_place(m: nn.Module, x: Tensor) -> Tensor:
    y = x.exp()
    flat = y.flatten(1)
    y.relu_()
    return flat


def _columns_apart(m: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    y = x.exp()
    first, second = y[..., 0], y[..., 1]
    first.relu_()
    return first, second, y


def _masked(m: nn.Module, x: Tensor) -> Tensor:
    y = x.exp()
    y[x > 0] = 0
    return y


def _residual(m: nn.Module, x: Tensor) -> Tensor:
    y = F.relu(x.exp(), inplace=True)
    y += x
    return y


def _swapped(m: nn.Module, x: Tensor) -> Tensor:
    y = x.exp()
    z = x.tanh()
    y.data = z
    return y


def _out_argument(m: nn.Module, x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    torch.add(x, x.exp(), out=out)
    return out


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (_halves, ["Scatter(Scatter(Exp(x)), Tanh(x))"]),
        (_halves_of_a_constant, ["Scatter(Scatter(Exp(x)), Tanh(x))"]),
        (_row, ["Scatter(Exp(x), Add(Exp(x), x))"]),
        (_view_in_place, ["ReLU(Exp(x))"]),
        (_base_in_place, ["ReLU(Exp(x))"]),
        (_columns_apart, ["ReLU(Exp(x))", "Exp(x)", "Scatter(Exp(x), ReLU(Exp(x)))"]),
        (_masked, ["Scatter(Exp(x), Compare(x))"]),
        (_residual, ["Add(ReLU(Exp(x)), x)"]),
        (_swapped, ["Tanh(x)"]),
        (_out_argument, ["Add(x, Exp(x))"]),
        (lambda m, x: x.exp().zero_() + x, ["Add(Constant(), x)"]),
        (lambda m, x: torch.zeros_like(x) + x, ["Add(Constant(), x)"]),
        (lambda m, x: x.exp().masked_fill_(x > 0, 0), ["Where(Compare(x), Exp(x))"]),
        (lambda m, x: x.clone().unsqueeze_(1).exp(), ["Exp(x)"]),
        (lambda m, x: m.w * x, ["Mul(Param(), x)"]),
    ],
)
def test_writes_reach_every_view(function: Callable[..., Any], expected: list[str]) -> None:
    assert edges(function, w=nn.Parameter(torch.ones(8, 1, 1))) == expected


def test_writes_to_buffers_are_seen_during_the_trace() -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        m.total += 1
        return x[:, : int(m.total)]

    model = Function(function)
    model.register_buffer("total", torch.tensor(2))
    assert frontends.trace(model, torch.empty(IMAGE)).nodes[-1].shape == (3, 6, 6)
    assert model.total == 2


# --- what cannot be traced


def _branch(m: nn.Module, x: Tensor) -> Tensor:
    if x.sum() > 0:
        return x
    return -x


def _line_of(function: Callable[..., Any], offset: int) -> str:
    return rf"{__file__}:{function.__code__.co_firstlineno + offset}"


def test_a_branch_on_values_names_the_line_and_the_module() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU(), Function(_branch)))
    with pytest.raises(cgir.TraceError) as caught:
        frontends.trace(model, torch.empty(IMAGE))
    text = str(caught.value)
    assert text.startswith(
        f"Sequential ({_line_of(_branch, 1)}), module '1.1': Tensor.__bool__ needs the values of a tensor"
    )
    assert "torch.where" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x * x.max().item(),
        lambda m, x: x * float(x.max()),
        lambda m, x: x[x > 0],
        lambda m, x: x.nonzero(),
        lambda m, x: torch.tensor(x.tolist()),
        lambda m, x: torch.from_numpy(x.numpy()),
        lambda m, x: x[:, : x.long().amax()],
        lambda m, x: F.one_hot(x.long()),
        lambda m, x: torch.unique(x),
        lambda m, x: torch.masked_select(x, x > 0),
        lambda m, x: x.repeat_interleave(x[0, 0, 0].long(), 3),
        lambda m, x: nn.utils.rnn.pack_padded_sequence(x[:, 0], torch.tensor([3, 2]), batch_first=True),
    ],
)
def test_reading_values_is_explained(function: Callable[..., Any]) -> None:
    with pytest.raises(cgir.TraceError, match=rf"Function \({__file__}:\d+\): .*value"):
        frontends.trace(Function(function), torch.empty(IMAGE))


def _fails(m: nn.Module, x: Tensor) -> Tensor:
    return m.linear(x.flatten(1))


def test_errors_of_the_forward_carry_its_line() -> None:
    expected = rf"Function \({_line_of(_fails, 1)}\), module 'linear': the forward failed: RuntimeError: .*\[2, 288\]"
    with pytest.raises(cgir.TraceError, match=expected) as caught:
        frontends.trace(Function(_fails, linear=nn.Linear(3, 4)), torch.empty(IMAGE))
    assert isinstance(caught.value.__cause__, RuntimeError)


ROOMS = (
    "cgir.graph",
    "cgir.passes",
    "frontends.tracing",
    "frontends.common.tape",
    "frontends.torch.recorder",
    "frontends.onnx.importer",
    "frontends.keras.importer",
    "frontends.tensorflow.importer",
    "frontends.spaces.space",
    "frontends.tables.table",
)


@pytest.mark.parametrize("module", ROOMS)
def test_no_line_of_this_library_is_the_users(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert spec.origin.startswith(LIBRARIES)


@pytest.mark.parametrize(
    ("name", "broken"),
    [("frontends.common.tape.op_layout", operator.truediv), ("frontends.common.tape.attributes", cgir.canonicalize)],
)
def test_failures_below_the_recorder_name_the_users_line(
    name: str, broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error raised by the tape, or by `cgir` below it, is located where the forward made the call."""

    def function(m: nn.Module, x: Tensor) -> Tensor:
        monkeypatch.setattr(name, broken)
        return x.relu()

    with pytest.raises(cgir.TraceError, match=rf"Function \({_line_of(function, 2)}\): the forward failed"):
        frontends.trace(Function(function), torch.empty(IMAGE))


def test_unknown_operators_are_kept_or_refused() -> None:
    model = Function(lambda m, x: m.inner(x), inner=Function(lambda m, x: torch.matrix_exp(x)))
    assert frontends.trace(model, torch.empty(IMAGE)).op_counts()["Opaque:torch.linalg.matrix_exp"] == 1
    with pytest.raises(
        cgir.UnsupportedOpError,
        match=rf"Function \({__file__}:\d+\), module 'inner': operator torch.linalg.matrix_exp "
        r"\(node 'inner.linalg_matrix_exp'\)",
    ):
        frontends.trace(model, torch.empty(IMAGE), strict=True)


@library.custom_op("cgirtest::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def test_custom_operators_are_opaque_under_their_own_name() -> None:
    graph = frontends.trace(Function(lambda m, x: torch.ops.cgirtest.twice(x.exp()).tanh()), torch.empty(IMAGE))
    assert [node.op for node in graph.nodes] == ["Input", "Exp", "Opaque", "Tanh", "Output"]
    assert graph.nodes[2].attr("name") == "cgirtest::twice"


class Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x.sigmoid()


class Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x


def test_autograd_functions_and_checkpoints_are_looked_into() -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(lambda y: Pass.apply(Gate.apply(y)), x, use_reentrant=False)

    assert [node.op for node in frontends.trace(Function(function), torch.empty(IMAGE)).nodes] == [
        "Input",
        "SiLU",
        "Output",
    ]


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (lambda: "resnet50", {"input_shape": (1, 3)}, "resnet50: there is no such file or folder"),
        (lambda: nn.Linear, {"input_shape": (1, 3)}, "Linear is a class, expected a model; pass an instance"),
        (lambda: nn.Linear(3, 3), {}, "found neither"),
        (lambda: nn.Linear(3, 3), {"inputs": torch.zeros(1, 3), "input_shape": (1, 3)}, "found both"),
        (
            lambda: nn.Linear(3, 3),
            {"inputs": (torch.zeros(1, 3),) * 2},
            "do not fit Linear.forward.*too many positional",
        ),
        (
            lambda: nn.Linear(3, 3),
            {"inputs": {"y": torch.zeros(1, 3)}},
            "do not fit Linear.forward.*missing a required argument: 'input'",
        ),
        (lambda: nn.Linear(3, 3), {"inputs": "x"}, "the inputs hold no tensor, found str"),
        (lambda: nn.Linear(3, 3), {"input_shape": (1, -3)}, "positive integers with the batch first"),
        (lambda: nn.Linear(3, 3), {"input_shape": 3}, "positive integers with the batch first"),
        (lambda: nn.LazyLinear(3), {"input_shape": (1, 3)}, "lazy and has no shapes yet"),
        (
            lambda: nn.Sequential(torch.compile(nn.Linear(3, 3), backend="eager")),
            {"input_shape": (1, 3)},
            "module '0' was made by torch.compile",
        ),
        (lambda: Function(lambda m, x: x.shape), {"input_shape": (1, 3)}, "returned no tensor, found Size"),
    ],
)
def test_bad_models_and_inputs_are_refused(model: Callable[[], Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(cgir.TraceError, match=message):
        frontends.trace(model(), **given)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_torchscript_is_refused() -> None:
    scripted = torch.jit.script(nn.ReLU())
    with pytest.raises(cgir.TraceError, match="module '1' is a TorchScript module"):
        frontends.trace(nn.Sequential(nn.Linear(3, 3), scripted), input_shape=(1, 3))


def test_modules_may_share_and_recurse() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    graph = frontends.trace(model, input_shape=(1, 4))
    assert graph.num_params == 20
    assert graph.flops == 2 * 2 * 16
    assert [node.params[0].id for node in graph.nodes if node.op == "Linear"] == ["0.weight", "0.weight"]


def test_a_shape_that_does_not_fit_is_named() -> None:
    model = nn.Sequential(nn.Identity(), nn.Conv2d(3, 8, 3))
    with pytest.raises(
        cgir.TraceError, match=r"module '1': the forward failed: .* \(in conv2d of 1x4x8x8, 8x3x3x3, 8\)"
    ):
        frontends.trace(model, input_shape=(1, 4, 8, 8))


def test_a_parameter_that_a_node_lacks_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    original = recorder.convert_call

    def forgetful(call: CallKind, *rest: Any) -> Conversion:
        conversion = original(call, *rest)
        return conversion._replace(weights=conversion.weights[:1]) if call.name == "linear" else conversion

    monkeypatch.setattr(recorder, "convert_call", forgetful)
    graph = frontends.trace(nn.Linear(4, 2), input_shape=(1, 4))
    assert graph.known_gaps == (
        Gap(
            "parameters",
            "parameter 'bias' was read by torch.linear, but no operator of the graph has it",
        ),
    )
    assert graph.report().splitlines()[2] == "parameters            at least 8"
    tied = Function(lambda m, x: m.first(x) + m.first.bias, first=nn.Linear(4, 2))
    assert frontends.trace(tied, torch.zeros(1, 4)).complete
