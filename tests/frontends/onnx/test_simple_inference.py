"""Types of simple operators, against ONNX's own inference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import defs, helper
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError, infer_node_outputs

from frontends.onnx.simple_inference import BROADCASTING, LIKE_OPERAND, simple_type
from frontends.onnx.tensors import OnnxTensor, ResultType

OPERATORS = [
    schema
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda s: (s.name, s.since_version))
    if schema.domain == "" and schema.name in LIKE_OPERAND | BROADCASTING | {"MatMul"}
]


def inferred(schema: defs.OpSchema, node: onnx.NodeProto, tensors: list[OnnxTensor]) -> ResultType | None:
    """What ONNX says; None where it refuses."""
    types = {tensor.name: tensor.type_proto() for tensor in tensors}
    imports = [helper.make_opsetid("", schema.since_version)]
    try:
        kind = infer_node_outputs(schema, node, types, None, None, imports)["y"].tensor_type
    except (InferenceError, ValidationError):
        return None
    return ResultType(kind.elem_type, tuple(dim.dim_value for dim in kind.shape.dim))


@pytest.mark.parametrize("schema", OPERATORS, ids=lambda schema: f"{schema.name}-{schema.since_version}")
def test_simple_types_are_those_of_onnx(schema: defs.OpSchema) -> None:
    if not schema.has_type_and_shape_inference_function:
        pytest.skip("onnx infers nothing")
    rng, answered = np.random.default_rng(0), 0
    for _ in range(60):
        rank = int(rng.integers(0, 5))
        tensors: list[OnnxTensor] = []
        for name in ("a", "b")[: schema.min_input]:
            size = [int(n) for n in rng.choice([0, 1, 3, 4], rank if rng.random() < 0.6 else int(rng.integers(0, 5)))]
            if schema.name == "MatMul" and tensors and size and tensors[0].size and rng.random() < 0.7:
                size[-2:] = [tensors[0].size[-1], 5]
            tensors.append(OnnxTensor(name, int(rng.choice([1, 1, 1, 10])), tuple(size)))
        node = helper.make_node(schema.name, [tensor.name for tensor in tensors], ["y"])
        found = simple_type(node, schema.since_version, tensors)
        if found is not None:
            answered += 1
            assert found == inferred(schema, node, tensors), [tensor.size for tensor in tensors]
    assert answered > 3 or (schema.name in BROADCASTING and schema.since_version < 7)
