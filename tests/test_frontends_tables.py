"""Label tables: the published ones against Python's own csv module, the embedded one against its script, and what damaged files say."""

from __future__ import annotations

import csv
import gzip
import os
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

import cgir
from frontends import spaces, tables

PUBLISHED = (
    ("nasbench101", 20_001, "cifar10_val_acc_108ep_1run"),
    ("nasbench201", 15_625, "cifar10_test_200ep_mean"),
    ("nasbench_macro", 6_561, "cifar10_test_acc_mean"),
)


def folder() -> Path:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    return Path(os.environ["CGIR_DATA"])


@pytest.mark.parametrize(("name", "count", "metric"), PUBLISHED)
def test_published_tables_hold_what_the_csv_module_reads(name: str, count: int, metric: str) -> None:
    with gzip.open(folder() / tables.SOURCES[name].file, "rt") as file:
        lines = list(csv.DictReader(file))
    table = tables.load(name)
    assert len(table) == len(lines) == count
    assert table.space == spaces.get(name)
    for column in table.metrics:
        expected = np.asarray([float(line[column]) if line[column] else np.nan for line in lines])
        assert table[column].dtype == np.float64
        np.testing.assert_array_equal(table[column], expected)
    assert metric in table.metrics
    for i in (0, 17, count - 1):
        assert table.space.format(table.specs[i]) == table.texts[i]
        assert all(part in lines[i].values() for part in table.texts[i].split(":"))


def test_known_values() -> None:
    folder()
    table = tables.load("nasbench201")
    accuracy = table["cifar10_test_200ep_mean"]
    assert int(np.nanargmax(accuracy)) == 6111
    assert abs(np.nanmax(accuracy) - 94.3733) < 1e-4
    assert abs(np.nanmean(accuracy) - 87.06) < 0.05  # published from random samples
    assert abs(np.nanmax(tables.load("nasbench_macro")["cifar10_test_acc_mean"]) - 93.1267) < 1e-4


def test_columns_are_copies() -> None:
    table = tables.load("digits")
    table["accuracy"][:] = 0
    assert table["accuracy"].min() > 0


def small_table(path: Path, text: str) -> Path:
    with gzip.open(path / "nasbench_macro_cifar10.csv.gz", "wt") as file:
        file.write(text)
    return path


def test_missing_values_are_nan_and_strings_stay_strings(tmp_path: Path) -> None:
    small_table(tmp_path, "arch_code8,a,b\n00000012,1.5,\n12000000,,3\n")
    for path in (tmp_path, tmp_path / "nasbench_macro_cifar10.csv.gz", str(tmp_path)):
        table = tables.load("nasbench_macro", path)
        assert table.texts == ("00000012", "12000000")
        np.testing.assert_array_equal(table["a"], [1.5, np.nan])
        np.testing.assert_array_equal(table["b"], [np.nan, 3])
        assert table.specs[1] == (1, 2, 0, 0, 0, 0, 0, 0)


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    with pytest.raises(cgir.LabelError, match=r"environment variable CGIR_DATA .* path="):
        tables.load("nasbench_macro")
    monkeypatch.setenv("CGIR_DATA", str(tmp_path))
    with pytest.raises(cgir.LabelError, match=r"nasbench_macro_cifar10.csv.gz does not exist"):
        tables.load("nasbench_macro")
    small_table(tmp_path, "arch_code8,a\n00000012,1\n")
    assert len(tables.load("nasbench_macro")) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("code,a\n00000012,1\n", "no column arch_code8; found code, a"), ("arch_code8,a\n00000012,x\n", "column a holds string"), ("", "cannot be read")],
)
def test_foreign_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(cgir.FileFormatError, match=complaint) as caught:
        tables.load("nasbench_macro", small_table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = small_table(tmp_path, "arch_code8,a\n" + "".join(f"{i:08d},{i}\n" for i in range(3000))) / "nasbench_macro_cifar10.csv.gz"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not gzip at all\n"):
        file.write_bytes(damaged)
        with pytest.raises(cgir.FileFormatError, match="nasbench_macro_cifar10"):
            tables.load("nasbench_macro", tmp_path)
    with pytest.raises(cgir.LabelError, match=r"digits.parquet does not exist; .*benchmarks.digits"):
        tables.load("digits", tmp_path / "digits.parquet")
    for content in (b"PAR1 and nothing else", b""):
        (tmp_path / "digits.parquet").write_bytes(content)
        with pytest.raises(cgir.FileFormatError, match="digits"):
            tables.load("digits", tmp_path / "digits.parquet")
    pq.write_table(pa.table({"family": ["nasbench201"], "spec": ["?"], "accuracy": [0.5]}), tmp_path / "digits.parquet")
    with pytest.raises(cgir.FileFormatError, match=r"benchmarks.digits"):
        tables.load("digits", tmp_path / "digits.parquet")


def test_unknown_tables_metrics_and_families() -> None:
    with pytest.raises(cgir.LabelError, match="nasbench101, nasbench201, nasbench_macro, digits"):
        tables.load("nasbench301")
    table = tables.load("digits")
    with pytest.raises(cgir.LabelError, match=r"no metric 'acc'; it has acc_seed0.* accuracy"):
        table["acc"]
    with pytest.raises(cgir.LabelError, match="no family 'darts'; it has nasbench101, nasbench201, nasbench_macro"):
        table.family("darts")


def test_digits_needs_no_folder_and_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    table = tables.load("digits")
    seeds = np.stack([table[f"acc_seed{seed}"] for seed in table.about["training"]["seeds"]], 1)
    np.testing.assert_allclose(table["accuracy"], seeds.mean(1), atol=1e-12)
    assert len(table) == len(table.specs) == 750
    for name, agreement in table.about["seed_spearman"].items():
        family = table.family(name)
        rows = [place for place, other in enumerate(table.families) if other == name]
        np.testing.assert_array_equal(family["accuracy"], table["accuracy"][rows])
        assert family.specs == tuple(table.specs[i] for i in rows)
        assert len(family) == 250
        ranks = rankdata(seeds[rows], axis=0)
        assert abs(np.mean([np.corrcoef(ranks[:, a], ranks[:, b])[0, 1] for a, b in combinations(range(3), 2)]) - agreement) < 1e-3


def test_digits_networks_are_distinct_and_connected() -> None:
    table = tables.load("digits")
    for name in dict.fromkeys(table.families):
        family = table.family(name)
        assert family.space is not None
        graphs = [family.space.graph(spec) for spec in family.specs]
        assert len({graph.hash for graph in graphs}) == 250
        np.testing.assert_array_equal(family["params"], [graph.num_params for graph in graphs])
        np.testing.assert_array_equal(family["flops"], [graph.flops for graph in graphs])
        assert min(family["params"]) > 0


def test_training_again_gives_the_labels_again() -> None:
    from benchmarks import digits

    table = tables.load("digits")
    for name, skeleton in digits.SKELETONS.items():
        family = table.family(name)
        assert family.space == spaces.get(name, **skeleton)
        place = int(np.argsort(family["accuracy"])[len(family) // 2])
        # rounding differs between processors, and training amplifies it
        assert abs(digits.train(family.space, family.texts[place], seed=0) - family["acc_seed0"][place]) < 0.05


def test_an_interrupted_build_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import digits

    asked: list[tuple[str, str]] = []

    def measure(job: tuple[str, str]) -> dict[str, Any]:
        asked.append(job)
        accuracies = np.random.default_rng(len(asked)).random(3).tolist()
        return {"family": job[0], "spec": job[1], "accuracies": accuracies, "train_seconds": 1.0}

    monkeypatch.setattr(digits, "measure", measure)
    arguments = ["--out", str(tmp_path / "d.parquet"), "--runs", str(tmp_path / "runs"), "--networks", "4"]
    digits.main(arguments)
    first = tables.load("digits", tmp_path / "d.parquet")
    assert len(first) == len(set(asked)) == 12
    assert set(zip(first.families, first.texts, strict=True)) == set(asked)
    [runs] = (tmp_path / "runs").iterdir()
    lines = runs.read_text().splitlines()
    runs.write_text("\n".join(lines[:7]) + "\n" + lines[7][:20])  # stopped in the middle of a row
    done = asked[:7]
    asked.clear()
    digits.main(arguments)
    assert not set(asked) & set(done)
    assert len(asked) == 5
    again = tables.load("digits", tmp_path / "d.parquet")
    assert again.texts == first.texts
    old = [pair in done for pair in zip(first.families, first.texts, strict=True)]
    np.testing.assert_array_equal(again["accuracy"][old], first["accuracy"][old])
    asked.clear()
    digits.main(arguments)
    assert not asked
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["d.parquet"]
