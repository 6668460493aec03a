"""Hostile modules: small PyTorch networks whose forward, attributes, inputs or results are not what tracing expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from numpy.random import Generator
from torch import Tensor, nn

import frontends

from .target import Target

Build = Callable[[Generator], tuple[nn.Module, Any]]  # a module, and the shape of its input or its inputs


class Module(nn.Module):
    """A module whose forward is a function of the module and its input."""

    def __init__(self, function: Callable[[Any, Any], Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Any) -> Any:
        """Whatever the function returns."""
        return self.function(self, x)


class Hostile:
    """An object of which nothing works."""

    def _refuse(self, *_: object) -> NoReturn:
        raise ZeroDivisionError("\x1b[2J\nhostile " + "x" * 2000)

    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = __getitem__ = __getattr__ = _refuse


class HostileModule(nn.Linear):
    """A module that cannot be described, compared or hashed."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError("no\r\x07")

    __repr__ = extra_repr = __eq__ = __hash__ = _refuse


def _holds_itself(x: Tensor) -> list[Any]:
    result: list[Any] = [x]
    result.append(result)
    return result


def _nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = (leaf,)
    return leaf


def _raises(error: Exception) -> Callable[[Any, Tensor], NoReturn]:
    def forward(module: nn.Module, x: Tensor) -> NoReturn:
        raise error.with_traceback(None)

    return forward


def _changes_itself(module: Any, x: Tensor) -> Tensor:
    module.inner = nn.Linear(x.shape[-1], 2, device=x.device)
    module.register_buffer("seen", x)
    module.train(not module.training)
    del module.function
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    out: Tensor = module.inner(x)
    return out


def _generator(x: Tensor) -> Iterator[Tensor]:
    yield x
    raise RuntimeError("exhausted")


# What a forward does to its input and what it returns.
STEPS: tuple[Callable[[Any, Tensor], Any], ...] = (
    lambda m, x: x.reshape(-1, 2**40),
    lambda m, x: x.expand(2**30, *x.shape),
    lambda m, x: torch.empty(2**31, 2**31, device="meta") + x.sum(),
    lambda m, x: x[(None,) * 70],
    lambda m, x: x.view(torch.complex64) if x.shape[-1] % 2 == 0 else x.to(torch.int8),
    lambda m, x: x.item(),
    lambda m, x: x.tolist(),
    lambda m, x: x.numpy(),
    lambda m, x: x[x > 0],
    lambda m, x: x.nonzero(),
    lambda m, x: x.relu() if (x > 0).all() else x,
    lambda m, x: x.data.zero_(),
    lambda m, x: x.resize_(0),
    lambda m, x: x.set_(torch.zeros(2).untyped_storage()) if hasattr(x, "set_") else x,
    lambda m, x: torch.as_strided(x, (10**6, 10**6), (0, 0)),
    lambda m, x: x @ x,
    lambda m, x: x.to_sparse(),
    lambda m, x: x.requires_grad_().sum().backward(),  # type: ignore[no-untyped-call]
    lambda m, x: torch.autograd.grad(x.sum(), x),
    lambda m, x: torch.utils.checkpoint.checkpoint(torch.relu, x, use_reentrant=False),
    lambda m, x: torch.vmap(lambda y: y.sum())(x),
    lambda m, x: torch.func.grad(lambda y: y.sum())(x),
    lambda m, x: torch.nested.nested_tensor([x, x]),
    lambda m, x: frontends.trace(m, input_shape=tuple(x.shape)) and x,
    lambda m, x: torch.manual_seed(3) and torch.rand_like(x),
    lambda m, x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    lambda m, x: x.unflatten(0, (-1, 3)),  # type: ignore[no-untyped-call]
    lambda m, x: torch.stack([x] * 300).sum(0),
    lambda m, x: torch.nn.functional.interpolate(x[None, None], scale_factor=1e9),
    lambda m, x: torch.nn.functional.one_hot(torch.arange(5), 2**40),
    lambda m, x: torch.einsum("i...,i...,i...->...", x, x, x),
)
RESULTS: tuple[Callable[[Tensor], Any], ...] = (
    _holds_itself,
    _generator,
    lambda x: _nested(1000, x),
    lambda x: None,
    lambda x: {Hostile: x} if x.dim() else Hostile(),
    lambda x: Hostile(),
    lambda x: (x, Hostile()),
    lambda x: {"\x1b\n" * 100: x, 3: x, None: [x]},
    lambda x: (x for _ in range(3)),
    lambda x: iter([x]),
    lambda x: "text",
    lambda x: [x] * 2000,
    lambda x: torch.nn.utils.rnn.PackedSequence(x, torch.tensor([1])),
    lambda x: nn.Parameter(x),
    lambda x: torch.zeros(3),
    lambda x: type("Odd", (tuple,), {"_fields": ("a",)})((x, x)),
)
MODULES: tuple[Build, ...] = (
    lambda rng: (Module(lambda m, x: rng_choice(rng, STEPS)(m, x)), _shape(rng)),
    lambda rng: (Module(lambda m, x: rng_choice(rng, RESULTS)(m.layer(x)), layer=nn.Identity()), _shape(rng)),
    lambda rng: (nn.Sequential(*[Module(rng_choice(rng, STEPS)) for _ in range(3)]), _shape(rng)),
    lambda rng: (_stack(int(rng.choice([5, 100, 200, 400, 2000]))), _shape(rng)),
    lambda rng: (Module(_changes_itself), _shape(rng)),
    lambda rng: (nn.Sequential(nn.ReLU(), HostileModule(4, 4)), (2, 4)),
    lambda rng: (Module(lambda m, x: x, odd=Hostile(), more=[Hostile()]), _shape(rng)),
    lambda rng: (Module(_raises(rng_choice(rng, ERRORS))), _shape(rng)),
    lambda rng: (nn.ReLU(), _absurd_shape(rng)),
    lambda rng: (nn.Linear(4, 4), rng_choice(rng, INPUTS)(rng)),
    lambda rng: (_cyclic(), _shape(rng)),
    lambda rng: (Module(lambda m, x: x * m.weight, weight=nn.Parameter(torch.ones(4).to_sparse())), (2, 4)),
)
ERRORS: tuple[Exception, ...] = (
    KeyError("a\nb"),
    RecursionError(),
    MemoryError(),
    StopIteration(3),
    AssertionError(),
    OSError(5, "\x00"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    RuntimeError("y" * 10**6),
    type("Unprintable", (Exception,), {"__str__": lambda self: 1 / 0})(),
)
INPUTS: tuple[Callable[[Generator], Any], ...] = (
    lambda rng: None,
    lambda rng: Hostile(),
    lambda rng: [Hostile()],
    lambda rng: _holds_itself(torch.zeros(2, 4)),
    lambda rng: {"input": _nested(500, torch.zeros(2, 4))},
    lambda rng: {3: torch.zeros(2, 4)},
    lambda rng: torch.zeros(2, 4).to_sparse(),
    lambda rng: torch.nested.nested_tensor([torch.zeros(2, 4)]),
    lambda rng: (torch.zeros(2, 4), torch.zeros(2, 4)),
    lambda rng: torch.zeros(0, 4),
    lambda rng: torch.zeros((), dtype=torch.complex64),
)


class Inputs(NamedTuple):
    """A module and what it is traced on."""

    module: nn.Module
    shape: Any


def rng_choice(rng: Generator, items: tuple[Any, ...]) -> Any:
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def _shape(rng: Generator) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(1, 5, size=int(rng.integers(0, 5))))


def _absurd_shape(rng: Generator) -> Any:
    sizes: tuple[Any, ...] = (
        0,
        -1,
        1,
        2**31,
        2**40,
        2**62,
        2**63,
        10**30,
        1.5,
        True,
        None,
        "3",
        float("nan"),
        (2, 3),
        [],
    )
    return tuple(rng_choice(rng, sizes) for _ in range(int(rng.integers(0, 6))))


def _stack(depth: int) -> nn.Module:
    module: nn.Module = nn.ReLU()
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


def _cyclic() -> nn.Module:
    module = nn.Sequential(nn.ReLU())
    module.append(module)
    return module


def _write(rng: Generator, seeds: Any, folder: Path) -> Inputs:
    return Inputs(*rng_choice(rng, MODULES)(rng))


def _read(item: Inputs) -> None:
    is_shape = isinstance(item.shape, tuple) and not any(isinstance(part, Tensor) for part in item.shape)
    given = {"input_shape": item.shape} if is_shape else {"inputs": item.shape}
    frontends.trace(item.module, **given)


TARGET = Target("modules with hostile forwards, results, attributes and inputs", lambda folder: None, _write, _read)
