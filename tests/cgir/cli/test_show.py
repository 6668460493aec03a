"""`cgir show`: blocks, nodes, a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgir_samples import resnet50

from cgir.cli.main import main


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
