"""The onnx package's own backend tests: every operator in every form that its authors test, and the light networks.

Sizes are compared with the outputs recorded in the test data, and where onnxruntime can run the model, with what it
computes for every tensor in between. Where a size depends on values, the frontend gives the largest one possible.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

import cgir
import frontends
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes

from .onnx_costs import values
from .torch_costs import CANONICAL, Outcome, canonical_costs

COLUMNS = ("traces", "outputs as recorded", "tensors as onnxruntime", "verifies", *CANONICAL)
DATA = "the size of the result depends on values: the frontend gives the largest one possible"
TEXT = "the number of strings that come out depends on the strings"
EXCEPTIONS: dict[str, str] = {
    **{f"node/test_{name}_*: outputs as recorded": DATA for name in ("nonmaxsuppression", "nonzero", "unique")},
    "*/test_strnorm*: outputs as recorded": TEXT,
    "node/test_string_split_empty_tensor": TEXT,
    "node/test_range_bfloat16_*_expanded: outputs as recorded": (
        "a loop's number of rounds is computed from bfloat16 inputs, whose values are not read"
    ),
    "node/test_loop11: outputs as recorded": (
        "the body slices by its round, so that every round's result has another size"
    ),
}
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator", "light")


@functools.cache
def _node_cases() -> dict[str, Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():  # numpy's, about overflows that the tests make on purpose
        warnings.simplefilter("ignore")
        return {f"node/{case.name}": case for case in load_model_tests(kind="node")}


def _folder(kind: str) -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / kind


def cases() -> list[str]:
    """Names of all cases, "folder/name"."""
    found = sorted(_node_cases())
    for kind in FOLDERS:
        if kind == "light":
            found += sorted(f"light/{path.stem}" for path in _folder(kind).glob("*.onnx"))
        else:
            found += sorted(f"{kind}/{path.parent.name}" for path in _folder(kind).glob("*/model.onnx"))
    return found


def check(case: str) -> Outcome:
    """Trace one model and compare the sizes of its tensors."""
    model, inputs, outputs = _loaded(case)
    given = {
        name: _Shaped(_shape(v)) if isinstance(v, onnx.TensorProto) else v
        for name, v in inputs.items()
        if not isinstance(v, list | type(None))
    } or None
    raw = frontends.trace(model, given, raw=True)
    sizes = tensor_sizes(model, TraceRequest(given))
    cgir.verify(raw)
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    same = [sizes[name] == _shape(value) for name, value in outputs.items() if not isinstance(value, list | type(None))]
    computed = _computed(model, inputs)
    between = None if computed is None else all(sizes.get(name, shape) == shape for name, shape in computed.items())
    recorded = all(same) if same else None
    return dict(zip(COLUMNS, (True, recorded, between, True), strict=False)) | canonical_costs(graph, raw)


def _loaded(case: str) -> tuple[onnx.ModelProto, dict[str, Any], dict[str, Any]]:
    """The model, its inputs and its recorded outputs, by name."""
    kind, name = case.split("/")
    if kind == "node":
        test = _node_cases()[case]
        given, expected = test.data_sets[0]
        return test.model, *_named(test.model, given, expected)
    if kind == "light":
        model = onnx.load(_folder(kind) / f"{name}.onnx", load_external_data=False)
        expected = [_read(_folder(kind) / f"{name}_output_0.pb", model.graph.output[0])]
        return model, *_named(model, [], expected)
    folder = _folder(kind) / name
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    data = folder / "test_data_set_0"
    infos = _inputs(model)
    given = [_read(data / f"input_{i}.pb", info) for i, info in enumerate(infos) if (data / f"input_{i}.pb").exists()]
    expected = [_read(data / f"output_{i}.pb", info) for i, info in enumerate(model.graph.output)]
    return model, *_named(model, given, expected)


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    given = {tensor.name for tensor in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in given]


def _named(
    model: onnx.ModelProto, given: Sequence[Any], expected: Sequence[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = dict(zip((info.name for info in _inputs(model)), given, strict=False))
    return inputs, dict(zip((info.name for info in model.graph.output), expected, strict=True))


def _read(path: Path, info: onnx.ValueInfoProto) -> Any:
    if not info.type.HasField("tensor_type"):
        return None
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


class _Shaped(NamedTuple):
    """What stands for a tensor of a type that numpy does not have."""

    shape: tuple[int, ...]


def _shape(value: Any) -> tuple[int, ...]:
    """Of an array, or of a tensor of a type that numpy does not have."""
    return tuple(value.dims) if isinstance(value, onnx.TensorProto) else np.shape(value)


def _computed(model: onnx.ModelProto, inputs: dict[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of all tensors of the main graph as onnxruntime computes them, None where it cannot."""
    if not inputs or len(model.graph.node) < 2:  # one node: its outputs are recorded
        return None
    computed = values(model, inputs)
    return None if computed is None else {name: np.shape(value) for name, value in computed.items()}
