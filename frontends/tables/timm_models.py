"""The graphs of models that timm builds by name: traced on the meta device, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from tqdm import tqdm

from cgir.errors import LabelError, TraceError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.passes import canonicalize
from frontends.common.trace_request import TraceRequest

if TYPE_CHECKING:
    import torch


def graphs(graph_names: Sequence[str]) -> GraphBatch:
    """The graphs of models at image sizes, `MODEL@PIXELS`, each traced once per process.

    Raises:
        LabelError: timm cannot be imported, or no longer has some of the names.
        TraceError: a model cannot be built at its size, or cannot be traced; the message names it.
    """
    pairs = [(name.rpartition("@")[0], int(name.rpartition("@")[2])) for name in graph_names]
    missing = find_unknown([name for name, _ in pairs])
    if missing:
        shown = f"{', '.join(missing[:10])}{' ...' if len(missing) > 10 else ''}"
        raise LabelError(f"this version of timm no longer builds {shown}; leave these rows out")
    return GraphBatch.from_graphs(
        [_graph(name, size) for name, size in tqdm(pairs, desc="tracing timm", unit="model", delay=2)]
    )


def find_unknown(names: Sequence[str]) -> list[str]:
    """Those of the names that the installed timm does not build.

    Raises:
        LabelError: timm cannot be imported.
    """
    from frontends.torch.torchvision_ops import declare

    try:
        declare()
        import timm
    except (ImportError, RuntimeError) as error:  # the latter: a torchvision that was built for another PyTorch
        raise LabelError(
            f"graphs of models of timm are traced from timm, which cannot be imported ({error}); "
            "pip install timm torchvision"
        ) from error
    return [name for name in names if not timm.is_model(name)]


@cache
def _graph(name: str, size: int) -> Graph:
    from frontends.torch.module_tracer import trace

    try:
        model = _build(name)
    except Exception as error:  # hundreds of architectures fail with different exceptions
        reason = str(error).partition("\n")[0]
        raise TraceError(
            f"timm does not build {name} ({type(error).__name__}: {reason}); leave this row out"
        ) from error
    try:
        return canonicalize(trace(model, TraceRequest(input_shape=(1, 3, size, size), name=name)))
    except TraceError as error:
        raise TraceError(f"{name} at {size} pixels: {error}") from error


def _build(name: str) -> torch.nn.Module:
    import timm
    import torch

    try:
        with torch.device("meta"):
            model: torch.nn.Module = timm.create_model(name, pretrained=False)
    except RuntimeError:  # some builders compute with values
        model = timm.create_model(name, pretrained=False)
    return model.eval()
