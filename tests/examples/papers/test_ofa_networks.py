"""Which networks are measured: strings, files of them, tables, and the best of a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import search
from cgir import CgirError
from encoders import CostPredictor
from examples.papers.ofa_mbv3 import AtOneSize
from examples.papers.ofa_networks import read_networks
from frontends import spaces
from frontends.spaces.mbconv.ofa_mbv3 import OfaMobileNetV3
from frontends.tables import Table, write_table

SPACE = OfaMobileNetV3()
SPECS = [SPACE.sample(np.random.default_rng(seed)) for seed in range(6)]
TEXTS = [SPACE.format(spec) for spec in SPECS]


def test_strings_and_files_of_strings_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "found.txt").write_text(f"{TEXTS[3]}\n\n  {TEXTS[1]}\n")
    found = read_networks([TEXTS[5], str(tmp_path / "found.txt"), TEXTS[3]], SPACE)
    assert found == [SPECS[5], SPECS[3], SPECS[1], SPECS[3]]


@pytest.mark.parametrize("objective", ["accuracy", "-loss"])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_best_of_a_search_are_those_of_its_history(tmp_path: Path, suffix: str, objective: str) -> None:
    """Of six networks two have the same answer, and one failed."""
    answers, log = iter([1.0, 5.0, float("nan"), 3.0, 5.0, 2.0]), tmp_path / "log.jsonl"
    history = search.random_search(
        AtOneSize(), None, lambda spec: next(answers), 6, objectives=objective, path=log, progress=False
    )
    path = log if suffix == ".jsonl" else tmp_path / "history.parquet"
    if suffix == ".parquet":
        history.save(path)
    assert read_networks([str(path)], SPACE) == history.specs
    for count in (1, 3, 9):
        expected = [history.specs[row] for row in history.top(count)]
        assert read_networks([str(path)], SPACE, count) == expected
        assert len(expected) == min(5, count)


def test_limits_and_the_predictor_choose_in_tables_as_in_the_search(tmp_path: Path) -> None:
    costs = CostPredictor()
    costs.fit(SPACE.graphs(SPECS), np.arange(6.0))
    middle = float(np.median([SPACE.graph(SPACE.sample(np.random.default_rng(seed))).flops for seed in range(50)]))
    history = search.random_search(SPACE, costs, None, 12, limits=f"flops<{middle:.0f}")
    history.save(tmp_path / "h.parquet")
    assert read_networks([str(tmp_path / "h.parquet")], SPACE, 4) == [history.specs[row] for row in history.top(4)]

    history = search.random_search(SPACE, None, lambda spec: sum(spec.ks), 12, limits="accuracy<100")
    history.save(tmp_path / "h.parquet")
    found = read_networks([str(tmp_path / "h.parquet")], SPACE, 4)
    assert found == [history.specs[row] for row in history.top(4)]
    assert all(sum(spec.ks) < 100 for spec in found)


def test_what_cannot_be_measured_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text(f"{TEXTS[0]}\nks=3;e=3\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    columns = {"accuracy": np.arange(6.0)}
    write_table(Table("labels", tuple(TEXTS), columns, SPACE), tmp_path / "labels.parquet")
    wide = OfaMobileNetV3(1.2)
    write_table(Table("labels", tuple(TEXTS), columns, wide), tmp_path / "wide.parquet")
    cell = spaces.get("nasbench201")
    text = cell.format(cell.sample(np.random.default_rng(0)))
    write_table(Table("cells", (text,), {"value": np.ones(1)}, cell), tmp_path / "cells.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "damaged.jsonl").write_text("{")
    cases = (
        ("nowhere.txt", None, "nowhere.txt: neither a file nor a network"),
        ("bad.txt", None, "bad.txt: line 2: ofa_mbv3: 2 parts"),
        ("binary", None, "binary: cannot be read as lines of text"),
        ("labels.parquet", 2, "labels.parquet: labels, not the history of a search"),
        ("wide.parquet", None, "wide.parquet: networks of width 1.2"),
        ("cells.parquet", None, "cells.parquet: networks of nasbench201; expected ofa_mbv3"),
        ("damaged.parquet", None, "damaged.parquet"),
        ("damaged.jsonl", None, "damaged.jsonl"),
        ("labels.parquet", 0, "--best 0; expected at least 1"),
    )
    for name, best, complaint in cases:
        with pytest.raises(CgirError) as caught:
            read_networks([str(tmp_path / name)], SPACE, best)
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(CgirError, match="ofa_mbv3: number 0 of ks"):
        read_networks([f"ks=9{TEXTS[0][4:]}"], SPACE)
