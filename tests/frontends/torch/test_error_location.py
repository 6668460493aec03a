"""Which lines an error names: the user's own, and the one of an installed library inside it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_samples import Function

import cgir
import frontends

LIBRARY = """
from torch import nn


def masked(x, mask):
    if mask.all():
        return x
    return x * mask


class Encoder(nn.Module):
    def forward(self, x):
        return self.encode(x)

    def encode(self, x):
        return masked(x, x > 0)
"""


@pytest.fixture
def library(tmp_path: Path) -> Any:
    """A package that somebody installed; line 6 reads values, 13 is its forward."""
    file = tmp_path / "site-packages" / "somelibrary" / "encoder.py"
    file.parent.mkdir(parents=True)
    file.write_text(LIBRARY)
    spec = importlib.util.spec_from_file_location("somelibrary.encoder", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def message(model: nn.Module) -> str:
    with pytest.raises(cgir.TraceError) as caught:
        frontends.trace(model, torch.zeros(1, 3))
    return str(caught.value)


def _calls_it(m: Any, x: Tensor) -> Tensor:
    return m.encoder(x)


def test_the_users_line_stands_before_that_of_the_library(library: Any) -> None:
    text = message(Function(_calls_it, encoder=library.Encoder()))
    line = f"{__file__}:{_calls_it.__code__.co_firstlineno + 1}"
    assert text.startswith(f"Function ({line}, inside {library.__file__}:6), module 'encoder': Tensor.__bool__ needs")
    assert "a buffer or a constant" in text


def test_models_of_a_library_name_their_forward_and_the_line_that_failed(library: Any) -> None:
    text = message(library.Encoder())
    assert text.startswith(f"Encoder ({library.__file__}:13, inside {library.__file__}:6): Tensor.__bool__ needs")


@pytest.mark.parametrize("fails", [lambda m, x: x[:, m.missing], lambda m, x: next(map(m.layer, [x]))])
def test_lines_of_python_itself_are_not_named(fails: Callable[..., Any]) -> None:
    text = message(Function(fails, layer=nn.Linear(4, 2)))
    assert text.startswith(f"Function ({__file__}:{fails.__code__.co_firstlineno})")


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_buffers_without_values_are_said_to_have_none(device: str) -> None:
    model = Function(lambda m, x: x.topk(m.count)[0])
    model.register_buffer("count", torch.tensor(2, device=device))
    if device == "cpu":
        assert frontends.trace(model, torch.zeros(1, 3)).nodes[-1].shape == (2,)
    else:
        assert "buffers on the meta device have no values either: build the model on the CPU" in message(model)


# --- code that cannot be seen


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.matmul(x.t()).relu(),
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.tanh(x) + 1,
        lambda x: torch.softmax(torch.nn.functional.layer_norm(x, (3,)), -1),
    ],
)
def test_compiled_code_that_is_not_seen_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    """An extension in C++ looks to a recorder as TorchScript does where its calls are not intercepted."""
    hidden, call = torch.jit.trace(function, torch.zeros(1, 3)), torch._C.ScriptFunction.__call__
    model = Function(lambda m, x: call(hidden, m.layer(x)), layer=nn.Linear(3, 3))
    assert "cannot see" in message(model)
