"""`cgir show`: blocks, nodes, a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgir_samples import resnet50

from cgir.cli.main import main


def test_a_saved_graph_is_no_model_and_a_damaged_model_no_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = tmp_path / "deep.json", tmp_path / "net.onnx"
    resnet50().save(path)
    model.write_bytes(b"\x08\x86")
    assert main(["trace", str(path)]) == 2
    assert "a saved graph is printed by `cgir show`" in capsys.readouterr().err
    assert main(["show", str(model)]) == 2
    assert f"{model}: " in capsys.readouterr().err
    assert main(["show", str(path), "--svg", str(tmp_path / "no" / "x.svg")]) == 2
    assert capsys.readouterr().err == f"cgir: {tmp_path / 'no' / 'x.svg'}: there is no folder {tmp_path / 'no'}\n"


def test_a_model_is_shown_as_its_saved_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, path = ["frontends.reference:resnet50", "--input-shape", "1,3,64,64"], str(tmp_path / "net.json")
    assert main(["trace", *words, "-o", path]) == 0
    capsys.readouterr()
    assert main(["show", *words]) == main(["show", path]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]
    assert main(["show", words[0]]) == 2
    assert "--input-shape 1,3,224,224" in capsys.readouterr().err


def test_show_prints_blocks_unless_asked_for_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "deep.json")
    resnet50().save(path)
    lines = {}
    for words in ((), ("--depth", "1"), ("--full",), ("--report",)):
        assert main(["show", path, *words]) == 0
        lines[words] = capsys.readouterr().out.splitlines()
    assert "2 \u00d7 layer1.1 .. 2" in "\n".join(lines[()])
    assert len(lines["--depth", "1"]) < len(lines[()]) < 40
    assert len(lines["--full",]) == 2 + 176
    assert any(line.startswith("operator ") for line in lines["--report",])
    for words in (["--depth", "0"], ["--depth", "1", "--full"]):
        with pytest.raises(SystemExit):
            main(["show", path, *words])
