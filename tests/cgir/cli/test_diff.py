"""`cgir diff`, on graphs of `cgir trace`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import write_net

import cgir
from cgir import Graph, Node, Param
from cgir.cli.main import main


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_net(tmp_path)


def test_show_and_diff(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    assert main(["trace", f"{net}:build", "--input-shape", "1,3,32,32", "-o", str(a)]) == 0
    assert main(["trace", f"{net}:build", "--input-shape", "1,3,16,16", "-o", str(b)]) == 0
    capsys.readouterr()
    assert main(["show", str(a)]) == 0
    assert "BatchNorm" in capsys.readouterr().out
    assert main(["diff", str(a), str(a)]) == 0
    assert "isomorphic" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["diff", str(a), str(b), "-o", str(page)]) == 1
    assert "30" in (printed := capsys.readouterr().out)
    assert f"wrote {page}" in printed
    assert '"difference"' in page.read_text(encoding="utf-8")
    assert main(["diff", str(a), str(b), "-o", str(tmp_path / "page.png")]) == 2
    assert "page.png: expected a file that ends in .html or .htm" in capsys.readouterr().err
    assert main(["show", str(a), "--png", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_saved_graphs_at_level_inference(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `--level` asks for holds for graphs in files too, or it is said why it cannot."""
    module, inference = tmp_path / "module.json", tmp_path / "inference.json"
    trace = ["trace", f"{net}:build", "--input-shape", "1,3,32,32"]
    assert main([*trace, "-o", str(module)]) == 0
    assert main([*trace, "--level", "inference", "-o", str(inference)]) == 0
    capsys.readouterr()
    assert main(["diff", str(module), str(inference)]) == 1
    assert "--level inference), where BatchNorm is folded, they are isomorphic" in capsys.readouterr().out
    assert main(["diff", str(module), str(inference), "--level", "inference"]) == 0
    assert main(["diff", str(module), f"{net}:build", *trace[2:], "--level", "inference"]) == 0
    nodes = (
        Node("Input", shape=(4, 5)),
        Node("Param", shape=(9, 2), params=(Param("table", (9, 2)),)),
        Node("Gather", (1,), ((9, 2),), (4, 5)),
        Node("Add", (0, 2), ((4, 5), (4, 5)), (4, 5)),
        Node("Output", (3,), ((4, 5),), (4, 5)),
    )
    cgir.canonicalize(Graph(nodes, "net")).save(module)
    capsys.readouterr()
    assert main(["diff", str(module), str(inference), "--level", "inference"]) != 0
    assert "'net' cannot be brought from level 'module' to 'inference': 1 of its nodes" in capsys.readouterr().err
