"""A store of a table's networks: what fails is counted and named, and an interrupted call is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lemur_samples import BRANCHES, BROKEN, ENDLESS, PLAIN, write_wheel

from cgir import FileFormatError, GraphStore, LabelError
from cgir.limits import Limits
from frontends import tables
from frontends.tables.lemur import store_writer, trace_network, write_graphs

COLUMNS = "dataset,epochs,transform,batch,lr,momentum,dropout,network,family,code_ast_sha256_16,acc"
ROWS = [
    ("plain", 1, 50.0), ("plain", 2, 60.0), ("branches", 1, 55.5), ("broken", 1, 10.0), ("endless", 1, 10.0),
    ("absent", 1, 20.0), ("hostile", 1, 99.0),
]  # fmt: skip
SOURCES = {
    "plain": PLAIN, "branches": BRANCHES, "broken": BROKEN, "endless": ENDLESS, "hostile": "import socket\nsocket"
}  # fmt: skip
LIMITS = Limits(seconds=2)


@pytest.fixture
def table(tmp_path: Path) -> tables.Table:
    lines = [f"cifar-10,{epochs},norm_flip,16,0.01,0.9,0.2,{name},Made,0,{acc}" for name, epochs, acc in ROWS]
    file = tmp_path / "recipe.csv"
    file.write_text("\n".join([COLUMNS, *lines]))
    return tables.load("lemur_fixed_recipe", file)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path / "nets.whl", SOURCES)


def test_every_network_is_traced_once_and_failures_are_counted(
    table: tables.Table, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "graphs"
    monkeypatch.setattr(store_writer, "CHUNK", 2)
    failures = write_graphs(wheel, table, out, LIMITS)
    assert set(failures) == {f"{name}@cifar-10:32" for name in ("broken", "endless", "absent", "hostile")}
    assert "longer than allowed" in failures["endless@cifar-10:32"]
    assert "imports socket" in failures["hostile@cifar-10:32"]
    assert "no ab/nn/nn/absent.py" in failures["absent@cifar-10:32"]
    assert not any("\n" in reason for reason in failures.values())
    store = GraphStore.open(out)
    assert store.specs == ["plain@cifar-10:32", "branches@cifar-10:32"]
    assert store.families == ["Made", "Made"]
    settings = {"lr": 0.01, "momentum": 0.9, "dropout": 0.2, "batch": 16, "transform": "norm_flip"}
    alone = [trace_network(SOURCES[n], n, (3, 32, 32), classes=10, settings=settings) for n in ("plain", "branches")]
    assert store.hashes == [graph.hash for graph in alone]

    def traced_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(store_writer, "trace_network", traced_again)
    assert write_graphs(wheel, table, out, LIMITS) == failures
    assert json.loads((tmp_path / "graphs.failures.json").read_text()) == failures


def test_an_interrupted_call_is_resumed(
    table: tables.Table, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, traced = tmp_path / "graphs", []
    monkeypatch.setattr(store_writer, "CHUNK", 1)

    def interrupted(source: str, name: str, *rest: object, **options: object) -> object:
        traced.append(name)
        if name == "branches" and traced.count(name) == 1:
            raise KeyboardInterrupt
        return trace_network(source, name, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store_writer, "trace_network", interrupted)
    few = table.select([0, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        write_graphs(wheel, few, out, LIMITS)
    assert GraphStore.open(out).specs == ["plain@cifar-10:32"]
    assert list(write_graphs(wheel, few, out, LIMITS)) == ["broken@cifar-10:32"]
    assert traced == ["plain", "branches", "branches", "broken"]
    assert GraphStore.open(out).specs == ["plain@cifar-10:32", "branches@cifar-10:32"]


def test_networks_of_equal_needs_are_traced_once(
    table: tables.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = []

    def counted(source: str, name: str, *rest: object, **options: object) -> object:
        traced.append(name)
        return trace_network(source, name, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store_writer, "trace_network", counted)
    wheel = write_wheel(tmp_path / "nets.whl", {"plain": PLAIN, "branches": "def spare():\n    pass\n" + PLAIN})
    assert write_graphs(wheel, table.select([0, 2]), tmp_path / "graphs", LIMITS) == {}
    assert traced == ["plain"]
    first, second = GraphStore.open(tmp_path / "graphs").hashes
    assert first == second


def test_tables_read_their_graphs_from_the_store(table: tables.Table, wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"traced once, into a store: see frontends\.tables\.lemur"):
        table.graphs([0])
    assert not table.has_graph.any()
    out = tmp_path / "graphs"
    write_graphs(wheel, table.select([0, 2]), out, LIMITS)
    stored = tables.load("lemur_fixed_recipe", tmp_path / "recipe.csv", graphs=out)
    np.testing.assert_array_equal(stored.has_graph, [True, True, True, False, False, False, False])
    plain, branches = GraphStore.open(out)
    batch = stored.graphs([2, 0, 1])
    assert [batch.graph(i).hash for i in range(3)] == [branches.hash, plain.hash, plain.hash]
    assert len(stored.select(stored.has_graph).graphs()) == 3
    with pytest.raises(LabelError, match="lacks 1 of 2 networks, such as 'broken@cifar-10:32'"):
        stored.graphs([0, 3])
    with pytest.raises(LabelError, match="builds its graphs itself"):
        tables.load("digits", graphs=out)


def test_rows_without_a_known_size_have_no_name(table: tables.Table) -> None:
    texts = table.text_columns | {"transform": ("norm_256_flip", "echo", "echo_64", "complex_32", "norm", "x", "y")}
    names = tables.published.named(replace(table, text_columns=texts)).graph_names
    assert names[:5] == ("plain@cifar-10:256", "plain@cifar-10:32", "branches@cifar-10:64", "", "endless@cifar-10:32")
    assert names[5:] == ("", "")


def test_what_is_no_wheel_of_networks(table: tables.Table, tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("no archive")
    with pytest.raises(FileFormatError, match=r"no wheel .*pip download --no-deps nn-dataset==2\.1\.2"):
        write_graphs(tmp_path / "text.whl", table, tmp_path / "out")
    empty = write_wheel(tmp_path / "empty.whl", {})
    with pytest.raises(FileFormatError, match="holds no networks below ab/nn/nn/"):
        write_graphs(empty, table, tmp_path / "out")
    assert not (tmp_path / "out").exists()
