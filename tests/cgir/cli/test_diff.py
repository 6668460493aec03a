"""`cgir diff`, on graphs of `cgir trace`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import write_net

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
    assert main(["diff", str(a), str(b)]) == 1
    assert "30" in capsys.readouterr().out
