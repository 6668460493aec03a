"""`cgir tables`: imported tables open again, failures write nothing and say why in one line, data sets have labels."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nats_samples import (
    CELLS_201,
    nats_folder,
)

import cgir
from cgir.cli.main import main
from cgir.cli.tables import EPILOG
from frontends import tables
from frontends.tables.importers import FORMATS, import_table


def test_imported_tables_are_written_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nats_folder(tmp_path / "NATS-tss-v1_0-3ffb9-simple")
    assert main(["tables", "import", "nasbench201", "NATS-tss-v1_0-3ffb9-simple", "-o", "nb201.parquet"]) == 0
    said = capsys.readouterr().out
    assert "nb201.parquet: 3 rows of nasbench201, " in said
    assert 'frontends.tables.load("nb201.parquet")' in said
    direct, table = import_table("nasbench201", tmp_path / "NATS-tss-v1_0-3ffb9-simple"), tables.load("nb201.parquet")
    assert (table.spec_strings, table.space, table.specs) == (direct.spec_strings, direct.space, direct.specs)
    assert table.metadata["origin"] == "nasbench201: NATS-tss-v1_0-3ffb9-simple"
    assert set(table.metrics) == set(direct.metrics)
    for metric in table.metrics:
        np.testing.assert_array_equal(table[metric], direct[metric])
    named = tables.load("nasbench201", "nb201.parquet")
    assert (named.name, named.spec_strings) == ("nasbench201", table.spec_strings)
    with pytest.raises(cgir.LabelError, match=r"nb201\.parquet is a table of nasbench201, not of darts"):
        tables.load("darts", tmp_path / "nb201.parquet")
    frame = pd.read_parquet("nb201.parquet")
    assert frame["spec"].tolist() == list(CELLS_201)
    assert main(["tables", "import", "nasbench201", "NATS-tss-v1_0-3ffb9-simple"]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "NATS-tss-v1_0-3ffb9-simple.parquet",
        "nb201.parquet",
    ]


def test_failed_imports_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tfrecord").write_bytes(b"short")
    (tmp_path / "old.parquet").write_bytes(b"kept")
    for arguments, complaint in (
        (["nasbench101", "x.tfrecord"], "x.tfrecord: record 0 at byte 0: cut off"),
        (["nasbench101", "absent"], "absent does not exist; nasbench101 is read from nasbench_only108.tfrecord"),
        (["nasbench", "x.tfrecord"], "no format is called 'nasbench'; there are nasbench101"),
        (["nasbench101", "x.tfrecord", "--space", "darts"], "--space and --spec are for csv and parquet"),
        (["csv", "x.tfrecord", "--space", "dart", "--spec", "a"], "no search space is called 'dart'"),
    ):
        assert main(["tables", "import", *arguments, "-o", "old.parquet"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("cgir: ")
        assert said.count("\n") == 1
        assert complaint in said
    assert (tmp_path / "old.parquet").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.parquet", "x.tfrecord"]


def test_the_help_names_every_format() -> None:
    for name, about in FORMATS.items():
        assert name in EPILOG
        assert all(
            part in EPILOG
            for part in about.replace(",", "").split()
            if "." in part and "json" not in part and "csv" not in part
        )


def test_the_list_says_where_tables_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CGIR_DATA", raising=False)
    with gzip.open(tmp_path / "nasbench_macro_cifar10.csv.gz", "wt") as file:
        file.write("arch_code8,a\n00000012,1\n")
    assert main(["tables", "list", "--data", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(tables.NAMES) <= set(lines)
    assert lines["nasbench_macro"].split()[1:] == ["1", "1", str(tmp_path / "nasbench_macro_cifar10.csv.gz")]
    assert lines["digits"].split()[1] == "750"
    assert lines["darts"].endswith("  no darts_cifar10.csv.gz")
    missing = len(tables.NAMES) - 2
    assert f"{missing} tables are not in the folder {tmp_path}; name it with --data FOLDER" in "\n".join(lines.values())
    assert sum(len(line) > 100 for line in lines.values()) <= 3
    assert main(["tables", "list"]) == 0
    assert "CGIR_DATA" in capsys.readouterr().out


def test_a_table_becomes_a_data_set_with_labels(tmp_path: Path) -> None:
    assert main(["tables", "graphs", "digits", "-o", str(tmp_path / "digits")]) == 0
    store, table = cgir.GraphStore.open(tmp_path / "digits"), tables.load("digits")
    assert store.families == list(table.families)
    assert store.specs == list(table.spec_strings)
    assert set(store.labels) == set(table.metrics)
    assert np.array_equal(store.labels["accuracy"], table["accuracy"], equal_nan=True)
    place = 300
    space = table.family(table.families[place]).space
    assert space is not None
    assert cgir.isomorphic(store[place], space.graph(table.specs[place]))
