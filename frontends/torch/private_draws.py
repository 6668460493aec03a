"""Random numbers from a generator of one's own, for code that draws from the global ones.

Seeding the global generators and restoring them afterwards would rewind what other threads draw meanwhile, so they are
not touched. Calls of PyTorch that draw get a `torch.Generator`, which gives the numbers that the global one would give
from the same seed or state. NumPy's and Python's functions of the global generators are, while any thread draws
privately, replaced by functions that ask which thread calls them.

What is drawn on a GPU comes from a generator of that GPU with the same seed.

What remains: numbers drawn on a GPU by operators that take no generator, dropout excepted, and by functions of NumPy or
Python that were imported by name (`from random import random`), come from the global generators.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from .stand_ins import StandIns
from .typing import Args, Function, Kwargs

# functions and operators that may draw, without the underscore of those in place; `call_kinds` names functions so, too
_DRAWING = (
    "alpha_dropout bernoulli binomial cauchy dropout dropout1d dropout2d dropout3d exponential feature_alpha_dropout "
    "feature_dropout fractional_max_pool2d fractional_max_pool2d_with_indices fractional_max_pool3d "
    "fractional_max_pool3d_with_indices geometric gru gumbel_softmax kaiming_normal kaiming_uniform log_normal lstm "
    "multi_head_attention_forward multinomial normal native_dropout orthogonal pca_lowrank poisson rand rand_like "
    "randint randint_like randn randn_like random randperm rnn_relu rnn_tanh rrelu rrelu_with_noise "
    "scaled_dot_product_attention _scaled_dot_product_attention sparse svd_lowrank trunc_normal uniform xavier_normal "
    "xavier_uniform _sample_dirichlet _standard_gamma"
)
DRAWING = frozenset(_DRAWING.split())
# operators that take no generator -> how they are written with one that does: what it fills, and its arguments
_FILLED: dict[str, tuple[str, Args]] = {
    "rand_like": ("uniform_", (0.0, 1.0)),
    "randn_like": ("normal_", (0.0, 1.0)),
}


class GeneratorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives a generator to operators that draw and have none: this one, or on GPUs one each of the same seed."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = generator
        self._of_gpus: dict[torch.device, torch.Generator] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the compiler would be imported, which takes seconds

    def __torch_dispatch__(self, func: Function, types: object, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]  # type: ignore[attr-defined]
        if name.rstrip("_") not in DRAWING or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if (generator := self._generator_on(_device(args, kwargs))) is None:
            return func(*args, **kwargs)
        if name == "native_dropout":  # how GPUs compute dropout
            return _dropout(generator, *args, **kwargs)
        if name in _FILLED and "memory_format" not in kwargs:
            fill, limits = _FILLED[name]
            return getattr(torch.empty_like(*args, **kwargs), fill)(*limits, generator=generator)
        if (overload := _with_generator(func)) is None:
            return func(*args, **kwargs)
        return overload(*args, **kwargs, generator=generator)

    def _generator_on(self, device: torch.device) -> torch.Generator | None:
        """That of a device; None of one that draws nothing, such as meta."""
        if device.type == self.generator.device.type:
            return self.generator
        if device.type == "cuda" and device not in self._of_gpus:
            self._of_gpus[device] = torch.Generator(device).manual_seed(self.generator.initial_seed())
        return self._of_gpus.get(device)


def _dropout(generator: torch.Generator, x: Tensor, p: float, train: bool | None = True) -> tuple[Tensor, Tensor]:
    """The operator `native_dropout`: the result, and what is kept.

    Args:
        generator: that draws what is kept.
        x: input.
        p: probability of an element to become 0.
        train: None, as True; False keeps all.
    """
    rate = 0.0 if train is False else p
    kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - rate, generator=generator)
    return x * kept * (1 / (1 - rate) if rate < 1 else 0.0), kept


def _device(args: Args, kwargs: Kwargs) -> torch.device:
    tensor = next((arg for arg in args if isinstance(arg, Tensor)), None)
    return torch.device(kwargs.get("device") or (tensor.device if tensor is not None else "cpu"))


def _with_generator(func: Any) -> Function | None:
    """The overload of an operator that takes its arguments and a generator, if there is one."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func  # type: ignore[no-any-return]
    name = "generator" if func._overloadname == "default" else f"{func._overloadname}_generator"
    return getattr(func.overloadpacket, name, None)


class DrawingMode(TorchFunctionMode):
    """Lets PyTorch's functions draw from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._operators = GeneratorMode(generator)

    def __torch_function__(self, func: Function, types: object, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        if getattr(func, "__name__", "").rstrip("_") not in DRAWING or _is_drawing():
            return func(*args, **(kwargs or {}))
        with self._operators:
            return func(*args, **(kwargs or {}))


def _is_drawing() -> bool:
    """Whether an inner mode gives the call its generator."""
    return isinstance(_get_current_dispatch_mode(), GeneratorMode)


# --- the global generators


class Generators:
    """Generators in the place of the global ones, made when they are first used.

    Args:
        seed: of all of them; None: they go on from the states of those that this thread draws from now.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed, self._outer = seed, _thread.generators

    @cached_property
    def torch(self) -> torch.Generator:
        """Instead of PyTorch's for the CPU."""
        generator = torch.Generator()
        if self._seed is not None:
            return generator.manual_seed(self._seed)
        generator.set_state((torch.default_generator if self._outer is None else self._outer.torch).get_state())
        return generator

    @cached_property
    def numpy(self) -> np.random.RandomState:
        """Instead of NumPy's."""
        generator = np.random.RandomState(0 if self._seed is None else self._seed % 2**32)
        if self._seed is None:
            generator.set_state((_NUMPY if self._outer is None else self._outer.numpy).get_state())
        return generator

    @cached_property
    def python(self) -> random.Random:
        """Instead of Python's."""
        generator = random.Random(self._seed)
        if self._seed is None:
            generator.setstate((_PYTHON if self._outer is None else self._outer.python).getstate())
        return generator


class _Thread(threading.local):
    """What the current thread draws from instead of the global generators; None: from these."""

    generators: Generators | None = None


_thread = _Thread()


@contextmanager
def private_generators(generators: Generators) -> Iterator[None]:
    """Inside, functions of the global generators called by this thread draw from these.

    Those are functions of NumPy and Python, and PyTorch's that seed, save and restore; its calls that draw need a mode.
    """
    outer = _thread.generators
    with _STAND_INS:
        _thread.generators = generators
        try:
            yield
        finally:
            _thread.generators = outer


@contextmanager
def private_draws(seed: int) -> Iterator[None]:
    """Inside, this thread draws as if all global generators had been seeded, and leaves them alone."""
    generators = Generators(seed)
    with private_generators(generators), DrawingMode(generators.torch):
        yield


class _Named:
    """A function that is pickled by the name of what it stands in for: other threads may do so meanwhile."""

    def __init__(self, module: ModuleType, name: str, call: Function) -> None:
        self.__module__, self.__name__, self._call = module.__name__, name, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__name__


Place = tuple[ModuleType, str, Callable[[Function], Function]]


def _of_generator(module: ModuleType, owner: object, kind: str, **others: str) -> list[Place]:
    """Stand-ins for the functions of a module that are methods of its global generator, and for `others`."""

    def make(name: str, method: str, original: Function) -> Function:
        def call(*args: Any, **kwargs: Any) -> Any:
            if _thread.generators is None:
                return original(*args, **kwargs)
            return getattr(getattr(_thread.generators, kind), method)(*args, **kwargs)

        return _Named(module, name, call)

    methods = {name: name for name, value in vars(module).items() if getattr(value, "__self__", None) is owner}
    return [(module, name, partial(make, name, method)) for name, method in (methods | others).items()]


def _of_torch() -> list[Place]:
    """Stand-ins for PyTorch's functions that seed, save and restore its global generator."""

    def make(module: ModuleType, name: str, own: Function, original: Function) -> Function:
        def call(*args: Any, **kwargs: Any) -> Any:
            if _thread.generators is None:
                return original(*args, **kwargs)
            return own(_thread.generators.torch, *args, **kwargs)

        return _Named(module, name, call)

    owns: dict[str, Function] = {
        "manual_seed": lambda generator, seed: generator.manual_seed(int(seed)),
        "seed": lambda generator: generator.seed(),
        "initial_seed": lambda generator: generator.initial_seed(),
        "get_rng_state": lambda generator: generator.get_state(),
        "set_rng_state": lambda generator, new_state: generator.set_state(new_state),
    }
    return [
        (module, name, partial(make, module, name, own))
        for module in (torch, torch.random)
        for name, own in owns.items()
    ]


_NUMPY, _PYTHON = np.random.mtrand._rand, random._inst
_STAND_INS = StandIns(
    *_of_generator(np.random, _NUMPY, "numpy", seed="seed", sample="random_sample", ranf="random_sample"),
    *_of_generator(random, _PYTHON, "python"),
    *_of_torch(),
)
