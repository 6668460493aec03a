"""`trace_many`: the computation graphs of many models, in other processes where they can be named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from os import PathLike
from types import FunctionType
from typing import Any, Literal, overload

from tqdm import tqdm

from cgir import CgirError, Graph, TraceError
from cgir.executors import Executor, open_executor

from .model_loading import build
from .tracing import trace

Answer = Callable[[], Graph]  # raises CgirError


@overload
def trace_many(
    models: Iterable[Any],
    *,
    workers: int = ...,
    errors: Literal["raise"] = ...,
    progress: bool = ...,
    **options: Any,
) -> list[Graph]: ...
@overload
def trace_many(
    models: Iterable[Any], *, workers: int = ..., errors: Literal["return"], progress: bool = ..., **options: Any
) -> list[Graph | CgirError]: ...
def trace_many(
    models: Iterable[Any],
    *,
    workers: int = 1,
    errors: Literal["raise", "return"] = "raise",
    progress: bool = True,
    **options: Any,
) -> list[Graph] | list[Graph | CgirError]:
    """The computation graphs of models in their order, each as `trace` gives it.

    Processes start anew and import what models need, some seconds each; so a script that asks for them runs under
    `if __name__ == "__main__":`, and they pay for a hundred models rather than for ten.

    Args:
        models: each what `trace` takes; a text that `build` takes, such as "net.py:build"; a function of a module that
            builds a model without arguments; or a pair of any of these and its example inputs. They are taken one
            after the other, so that a generator's models need not all be in memory.
        workers: processes that trace. Models that only a text, a path or a function names go there; objects, and
            models with example inputs, are traced in this process, one by one.
        errors: "raise" ends with the first model, in their order, that cannot be traced; "return" puts its error in
            its place, and goes on.
        progress: show a progress bar where it takes longer than a few seconds.
        options: of `trace`, for all models.

    Raises:
        CgirError: a model cannot be traced, with its number and the class and message that `trace` gives; or arguments
            are no such.
    """
    if errors not in ("raise", "return"):
        raise CgirError(f"trace_many: errors={errors!r}; expected 'raise' or 'return'")
    if type(workers) is not int or workers < 1:
        raise CgirError(f"trace_many: workers={workers!r}; expected a positive whole number")
    if isinstance(models, str | bytes | PathLike):
        raise CgirError(f"trace_many: {models!r:.80} is one model; expected a list of models")
    results: list[Any] = []
    with _processes(workers) as executor, tqdm(desc="trace", unit=" models", delay=3, disable=not progress) as bar:
        answers = (_answer(item, options, executor) for item in models)
        for number, answer in enumerate(answers if executor is None else list(answers)):
            try:
                results.append(answer())
            except CgirError as error:
                if errors == "raise":
                    raise type(error)(f"model {number}: {error}") from error
                results.append(error)
            bar.update()
    return results


@contextmanager
def _processes(workers: int) -> Iterator[Executor | None]:
    if workers == 1:
        yield None
        return
    with open_executor(f"processes:{workers}") as executor:
        yield executor


def _answer(item: Any, options: dict[str, Any], executor: Executor | None) -> Answer:
    """What gives a model's graph: at once where it is named and there are processes, else when it is called."""
    model, inputs = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
    name = _name(model)
    if executor is None or name is None or inputs is not None:
        return lambda: _trace(model if name is None else name, inputs, options)
    call = executor.submit(_trace, name, None, options)

    def answer() -> Graph:
        try:
            graph: Graph = call.result()
        except BrokenProcessPool as error:
            raise TraceError(f"{name}: the process that traced it, or one beside it, was killed") from error
        return graph

    return answer


def _name(model: Any) -> str | PathLike[str] | None:
    """What names a model in any process; None for objects."""
    if isinstance(model, str | PathLike):
        return model
    if isinstance(model, FunctionType) and "<" not in model.__qualname__ and model.__module__ != "__main__":
        return f"{model.__module__}:{model.__qualname__}"
    return None


def _trace(model: Any, inputs: Any, options: dict[str, Any]) -> Graph:
    if isinstance(model, FunctionType):  # of the script itself, or inside another one
        model = _built(model)
    return trace(build(model) if isinstance(model, str) else model, inputs, **options)


def _built(function: FunctionType) -> Any:
    try:
        return function()
    except Exception as error:
        raise TraceError(f"{function.__qualname__}: building the model failed: {error}") from error
