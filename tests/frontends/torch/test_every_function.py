"""Every function of PyTorch: its module and its export are one graph, with the FLOPs that PyTorch counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VALUES = "the result, or its size, depends on values"
SHAPES = "PyTorch has no meta kernel"
UNCOUNTED = "products that PyTorch's counter has no formula for"
EXCEPTIONS = {
    "_unsafe_masked_index": VALUES,
    "allclose": VALUES,
    "argwhere": VALUES,
    "bincount": VALUES,
    "combinations": VALUES,
    "equal": VALUES,
    "item": VALUES,
    "masked_select": VALUES,
    "nn.functional.gaussian_nll_loss": "looks at the signs of the variances",
    "nn.functional.one_hot": "without a number of classes the size depends on values",
    "nonzero": VALUES,
    "tensor_split": "the places are a tensor",
    "unique": VALUES,
    "unique_consecutive": VALUES,
    "geqrf": SHAPES,
    "histogram": SHAPES,
    "histogramdd": SHAPES,
    "linalg.lstsq": SHAPES,
    "to_sparse": SHAPES,
    "__rmatmul__": UNCOUNTED,
    "addbmm": UNCOUNTED,
    "addmv": UNCOUNTED,
    "dot": UNCOUNTED,
    "inner": UNCOUNTED,
    "linalg.vecdot": UNCOUNTED,
    "matmul": UNCOUNTED,
    "mv": UNCOUNTED,
    "nn.functional.bilinear": UNCOUNTED,
    "sparse.mm": UNCOUNTED,
    "vdot": UNCOUNTED,
    "__rdiv__": "Python never divides a tensor by a tensor so; the export multiplies by the reciprocal",
    "nn.functional.local_response_norm": "the norm says where the channels of an input are, its parts do not",
}


@pytest.mark.slow
def test_modules_exports_and_pytorchs_counter_agree() -> None:
    helpers = Path(__file__).parents[2] / "helpers"
    path = os.pathsep.join([str(helpers), str(helpers.parents[1]), os.environ.get("PYTHONPATH", "")])
    sweep = subprocess.run(
        [sys.executable, str(helpers / "torch_function_sweep.py")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    *problems, (_, count) = map(json.loads, sweep.stdout.splitlines())
    assert int(count) > 1000
    unexpected = [(name, what) for name, what in problems if name not in EXCEPTIONS]
    assert not unexpected
    assert {name for name, _ in problems} == set(EXCEPTIONS)
