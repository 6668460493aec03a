"""`cgir explain` as a user meets it: a table, a drawing, one line for an error."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from encoders_samples import conv_share, random_cnns

import cgir
import encoders
from cgir.cli.main import main
from encoders.explain import explain

NET = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), \
nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A small model and a predictor, as a user names them."""
    graphs = random_cnns(20)
    encoders.Predictor(None, head="gp").fit(graphs, conv_share(graphs)).save(tmp_path / "predictor")
    (tmp_path / "explained_net.py").write_text(NET)
    return [
        "explain",
        f"{tmp_path / 'explained_net.py'}:build",
        "--predictor",
        str(tmp_path / "predictor"),
        "--input-shape",
        "1,3,16,16",
    ]


def test_explain_prints_the_top_nodes_and_draws(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("why.svg", "why.html", "why.png"):
        assert main([*words, "--top", "3", "-o", str(tmp_path / name)]) == 0
        first, header, *rows, empty, last = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"explained_net.py:build: score -?[\d.]+, occlusion", first)
        assert header.split() == ["importance", "node", "operator", "shape", "module"]
        values = [abs(float(row.split()[0])) for row in rows]
        assert values == sorted(values, reverse=True)
        assert (len(rows), empty, last) == (3, "", f"wrote {tmp_path / name}")
    assert ElementTree.parse(tmp_path / "why.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "<title>" in (tmp_path / "why.html").read_text(encoding="utf-8")


def test_explain_takes_saved_graphs_and_agrees_with_the_library(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = random_cnns(1, seed=5)[0]
    graph.save(tmp_path / "g.json")
    assert main(["explain", str(tmp_path / "g.json"), "--predictor", words[3], "--method", "occlusion"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == explain(
        encoders.Predictor.load(words[3]), cgir.load(tmp_path / "g.json")
    ).table(10)


def test_the_report_shows_the_operators_of_the_table(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "why.html"
    assert main([*words, "--top", "4", "--report", str(page)]) == 0
    _, _, *rows, empty, last = capsys.readouterr().out.splitlines()
    assert (empty, last) == ("", f"report: {page}")
    text = page.read_text(encoding="utf-8")
    shown = re.findall(
        r'<tr><td>(\S+)</td><td class=t><i class="bar (\w+)" style="width:(\d+)px"></i></td><td>(\d+)<', text
    )
    assert [number for *_, number in shown] == [row.split()[1] for row in rows]
    values = [float(row.split()[0]) for row in rows]
    assert [float(value) for value, *_ in shown] == pytest.approx(values, rel=1e-2)
    assert [kind for _, kind, *_ in shown] == ["less" if value < 0 else "more" for value in values]
    lengths = [240 * abs(value) / abs(values[0]) for value in values]
    assert [int(length) for _, _, length, _ in shown] == pytest.approx(lengths, abs=1.5)
    drawing = re.search(r"<svg.*</svg>", text, re.DOTALL)
    assert drawing
    ElementTree.fromstring(drawing[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "why.gif"], r"cgir: why.gif: expected a file that ends in .svg or .png or .html; call it why.svg"),
        (["--report", "why.pdf"], r"cgir: why.pdf: expected a file that ends in .html or .htm; call it why.html"),
        (["--method", "masks"], r"cgir: explain: masks belong to head='carl', and this predictor is 'gp'; .*"),
        (["--predictor", "nowhere"], r"cgir: .*nowhere.*"),
    ],
)
def test_errors_are_one_line(
    words: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(message + "\n", captured.err)
