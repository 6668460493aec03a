"""What the tests of the search spaces share: rows of the published tables, traced modules, live parameters."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cgir
import frontends
from cgir.analysis.isomorphism import isomorphic
from frontends import spaces

NAMES = tuple(spaces.SPACES)
INFINITE = LOOPS = {"nasbench_nlp"}
SMALL = {
    "nasbench101": {"channels": 8, "cells": 2},
    "nasbench201": {"channels": 4, "cells": 2},
    "nasbench_macro": {"channels": 4, "head": 16},
    "darts": {"channels": 4, "layers": 3},
    "nasnet": {"channels": 4, "layers": 3},
    "nasbench1shot1": {"channels": 8, "cells": 2},
    "ofa_mbv3": {"widths": (8, 8, 8, 16, 16, 24, 24, 32, 40), "classes": 10},
    "mnasnet": {"stem": 8, "widths": (8, 8, 12, 16, 24, 24, 32), "head": 16, "classes": 10},
    "proxylessnas": {"stem": 8, "widths": (8, 8, 12, 16, 24, 24, 32), "head": 16, "image": (3, 64, 64), "classes": 10},
    "nasbench_nlp": {"vocabulary": 20, "embedding": 6, "hidden": 8, "layers": 2, "steps": 3},
    "transnas_micro": {"channels": 4, "cells": 1, "image": (3, 64, 64)},
    "transnas_macro": {"channels": 4, "cells": 1, "image": (3, 64, 64)},
    "gpt": {"widths": (8, 16, 24, 40), "depths": (1, 2, 3), "heads": (2, 4), "vocabulary": 20, "context": 6},
    "naap440": {"first": (4, 6), "second": (6, 8), "third": (6, 8, 10), "fourth": (10, 12)},
    "metaqnn": {"widths": (4, 6, 8), "features": (12, 8), "layers": 8},
    "cifar_resnet": {"image": (3, 8, 8), "classes": 10},
    "mobilenetv2": {"stem": 8, "widths": (8, 8, 16, 16, 24, 24, 32), "head": 16, "image": (3, 64, 64), "classes": 10},
    "lstm": {"vocabulary": 20, "embedding": 6, "steps": 3},
    "graphgym": {"features": 6, "classes": 3, "nodes": 10, "edges": 30},
    "nasbench_graph": {"data": "computers", "nodes": 10, "edges": 30},
}


def small(name: str) -> spaces.Space:
    return spaces.get(name, **SMALL[name])


def assert_refused(space: spaces.Space, text: str, complaint: str) -> None:
    """A string that is no spec is refused in one line, which begins with the space and has the complaint."""
    with pytest.raises(cgir.SpecError) as caught:
        space.parse(text)
    assert str(caught.value).startswith(f"{space.name}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def rows(name: str) -> Iterator[dict[str, str]]:
    """Rows of a published table; skips where the tables are not."""
    folder = os.environ.get("CGIR_DATA")
    if not folder:
        pytest.skip("needs the label tables: set CGIR_DATA")
    with gzip.open(Path(folder) / name, "rt") as file:
        yield from csv.DictReader(file)


def trace(space: spaces.Space[Any], spec: Any) -> cgir.Graph:
    """The traced module of a spec."""
    with torch.device("meta"):
        module = space.module(spec)
    return frontends.trace(module, space.inputs(spec))


def check_traces(space: spaces.Space[Any], count: int, seed: int) -> None:
    """`graph(spec)` is the traced `module(spec)` for random points, without operators that no output reads."""
    rng = np.random.default_rng(seed)
    for spec in (space.sample(rng) for _ in range(count)):
        graph, traced = space.graph(spec), trace(space, spec)
        assert isomorphic(graph, traced), f"{space.format(spec)}\n{cgir.diff(graph, traced)}"
        assert traced.complete
        traced = replace(traced, detached=())
        assert (graph.num_params, graph.flops) == (traced.num_params, traced.flops)


def real(inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Inputs with values for inputs on meta: two examples of noise, or of zeros where they are integers."""
    return [
        torch.randn(2, *x.shape[1:]) if x.is_floating_point() else torch.zeros(2, *x.shape[1:], dtype=x.dtype)
        for x in inputs
    ]


def count_live(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """Parameters that the output depends on, by autograd."""
    module(*real(inputs)).sum().backward()
    return sum(p.numel() for p in module.parameters() if p.grad is not None)
