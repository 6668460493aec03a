"""The paper's search in Once-for-All, small: what it finds keeps to size and budget, is written as code that builds it,
and is shown.
"""

from __future__ import annotations

import json
import runpy
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from space_checks import rows

import cgir
import frontends
from cgir import CgirError
from examples.papers import ofa_mbv3
from examples.papers.ofa_table import LABELS_ALONE, LOG_FLOPS, tables
from frontends import spaces


def test_the_space_keeps_its_image_size_and_still_reaches_every_choice() -> None:
    space, rng = ofa_mbv3.AtOneSize(), np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(300)]
    children = [space.mutate(spec, rng) for spec in specs]
    assert {spec.r for spec in (*specs, *children)} == {224}
    assert all(
        child != spec and space.parse(space.format(child)) == child for spec, child in zip(specs, children, strict=True)
    )
    depths = [depth for spec in specs for depth in spec.d]
    assert all(0.28 < depths.count(depth) / len(depths) < 0.39 for depth in (2, 3, 4))
    assert {len(spec.active()) - len(child.active()) for spec, child in zip(specs, children, strict=True)} >= {-1, 0, 1}


def test_a_missing_predictor_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(CgirError, match=r"sources-ofa_mbv3-3 does not exist; .*examples.papers.universal --folder"):
        ofa_mbv3.transferred(str(tmp_path / "sources-ofa_mbv3-SEED"), 3)


def test_a_seed_of_the_search(tmp_path: Path) -> None:
    next(rows("ofa_mbv3_imagenet.csv.gz"))
    args = Namespace(predictor="none", queries=150, max_gflops=0.7, folder=tmp_path)
    ofa_mbv3.run(1, args, "small")
    found = json.loads((tmp_path / "small.json").read_text())
    assert [row["guide"] for row in found] == [LABELS_ALONE, LOG_FLOPS, LABELS_ALONE]
    assert all(row["gflops"] <= 0.7 and 1 <= row["first_rank"] <= row["networks"] for row in found)
    assert found[0]["spearman"] > 0.9
    problem = ofa_mbv3.problem(1, 0.7)
    assert problem.seen.sum() == 50
    assert found[0]["networks"] == len(problem.specs) - 50
    space = spaces.get("ofa_mbv3")
    built = runpy.run_path(str(tmp_path / "best_small.py"))
    assert built["SPEC"] == found[0]["text"]
    traced = frontends.trace(built["build"](), input_shape=(1, 3, 224, 224))
    assert cgir.isomorphic(traced, space.graph(space.parse(found[0]["text"])))
    assert (tmp_path / "best_small.svg").read_text().count("<svg") == 1
    assert len(frontends.tables.load(tmp_path / "small.parquet")) == 150
    shown = tables(found)
    assert [len(table.rows) for table in shown] == [3, 2, 1, 4]
    assert all(len(line) == len(table.columns) for table in shown for line in table.rows)
