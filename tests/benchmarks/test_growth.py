"""What is measured by size has that size, and peers end where they are told to."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

pytest.importorskip("torch_geometric")  # of the extra [bench]

import frontends
from benchmarks import growth, growth_rows, report
from benchmarks.growth_plot import draw
from cgir import GraphBatch
from cgir.typing import Float32Array
from encoders import Encoder, EncoderConfig

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_rows, "CONFIG", EncoderConfig(width=8, layers=2))
    monkeypatch.setattr(growth_rows, "STREAMED", "nasbench_macro")
    monkeypatch.setattr(growth_rows, "PIECE", 5)
    monkeypatch.setattr(growth_rows, "POOL", 20)


def test_peers_end_at_the_size_that_they_bear() -> None:
    asked: list[tuple[str, int]] = []
    ways = {"all": (lambda given: asked.append(("all", given)), 100), "few": (lambda g: asked.append(("few", g)), 10)}
    found = growth_rows.timed([10, 100], lambda size: 2 * size, ways)
    assert asked == [("all", 20), ("few", 20)] * 2 + [("all", 200)]  # the first round does not count
    assert {name: list(costs) for name, costs in found.items()} == {"all": [10, 100], "few": [10]}


def test_a_module_has_as_many_operators_as_it_says() -> None:
    model = growth_rows.Blocks(4)
    graph = frontends.trace(model, (torch.zeros(1, growth_rows.WIDTH),))
    assert [node.op for node in graph.nodes][1:-1] == ["Linear", "ReLU", "Add"] * 4
    x = torch.rand(2, growth_rows.WIDTH)
    assert (model(x) >= x).all()  # a residual block adds what is at least 0


def test_a_stream_has_all_networks_before_one_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    space = SimpleNamespace(enumerate=lambda: iter("abcdefg"), graphs=list)
    monkeypatch.setattr(growth_rows, "spaces", SimpleNamespace(get=lambda name: space))
    batches = list(growth_rows.pieces(17))
    assert [len(batch) for batch in batches] == [5, 5, 5, 2]
    specs = [spec for batch in batches for spec in cast(list[str], batch)]
    assert sorted(specs[:7]) == list("abcdefg")
    assert specs[7:14] == specs[:7]


def test_a_stream_adds_up_the_vectors_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, sizes = Encoder(growth_rows.CONFIG), list[int]()
    embed = encoder.embed

    def counted(batch: GraphBatch, **options: Any) -> Float32Array:
        sizes.append(len(batch))
        return embed(batch, **options)

    monkeypatch.setattr(encoder, "embed", counted)
    assert set(growth_rows.embed_stream(12, encoder)) == {
        growth_rows.EMBEDDED, growth_rows.COMPILED, growth_rows.MEMORY
    }  # fmt: skip
    assert sizes == [5, 5, 2]
    monkeypatch.setattr(encoder, "embed", lambda batch, **options: np.full((len(batch), encoder.dim), np.nan))
    with pytest.raises(SystemExit, match="not finite"):
        growth_rows.embed_stream(1, encoder)


@pytest.mark.parametrize(
    ("name", "ways"), [("graphs", 4), ("operators", 2), ("nodes", 3), ("labels", 3), ("queries", 3)]
)
def test_every_row_is_measured(name: str, ways: int) -> None:
    found = growth.ROWS[name].measure([10, 20])
    assert len(found) == ways
    assert all(list(costs) == [10, 20] and min(costs.values()) > 0 for costs in found.values())
    table = growth.table(name, found)
    assert table.columns == ("", "10", "20")
    assert [row[0] for row in table.rows] == list(found)


def test_a_drawing_names_its_lines_and_axes(tmp_path: Path) -> None:
    draw({"ours": {10: 1.0, 100: 2.0}, "theirs": {10: 1.5}}, tmp_path / "plot.svg", "graphs", "seconds", "both")
    drawing = ElementTree.parse(tmp_path / "plot.svg").getroot()
    texts = {element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {"ours", "theirs", "graphs", "seconds", "both"}


def test_sizes_are_powers_of_ten() -> None:
    assert growth.powers(100, 10_000) == [100, 1_000, 10_000]
    assert growth.powers(10, 99) == [10]


def test_tables_are_kept_one_by_one_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (growth, report):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    for row in ("nodes", "graphs", "nodes"):
        found = growth.ROWS[row]._replace(measure=lambda sizes: {"cgir": {size: size / 100 for size in sizes}})
        monkeypatch.setitem(growth.ROWS, row, found)
        growth.main(["--only", row, f"--{row}", "1000", "--write"])
        assert (tmp_path / f"growth_{row}.svg").exists()
    tables = json.loads((tmp_path / "growth.json").read_text(encoding="utf-8"))["tables"]
    assert [table["caption"].split(";")[0] for table in tables] == ["embeddings: graphs", "spectra: nodes of a graph"]
    assert [table["rows"] for table in tables] == [[["cgir", "1", "10"]]] * 2
