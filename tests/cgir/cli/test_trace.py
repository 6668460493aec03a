"""`cgir trace`: models of all frameworks, and what is said of models that cannot be traced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_samples import run_cgir, write_net

import cgir
import frontends
from cgir.cli.main import main


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_net(tmp_path)


def test_trace_prints_a_report_and_writes_files(net: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.json"
    done = run_cgir(
        "trace",
        f"{net}:build",
        "--input-shape",
        "1,3,32,32",
        "-o",
        str(out),
        "--svg",
        str(tmp_path / "n.svg"),
        "--html",
        str(tmp_path / "n.html"),
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert re.fullmatch(r"traced .*small_net.py:build in [\d.]+ s: 10 operators recorded, 7 nodes in the graph", first)
    assert last == f"wrote {tmp_path / 'n.html'}"
    graph = cgir.load(out)
    assert graph.num_params == 3 * 8 * 9 + 8 + 16 + 8 * 10 + 10
    assert (tmp_path / "n.svg").read_text().lstrip().startswith("<svg")
    assert "<html" in (tmp_path / "n.html").read_text()


def test_models_of_all_frameworks_are_built_and_compared(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", f"{net}:net", "--input-shape", "1,3,32,32", "-o", str(tmp_path / "net.json")]) == 0
    assert main(["trace", f"{net}:keras_net"]) == 0
    assert main(["diff", str(tmp_path / "net.json"), f"{net}:keras_net"]) == 0
    capsys.readouterr()
    assert main(["trace", f"{net}:onnx_net", "--dim", "batch=2", "--dim", "time=7"]) == 0
    assert re.search(r"activations +224 +bytes", capsys.readouterr().out)
    (tmp_path / "net.onnx").write_bytes(frontends.build(f"{net}:onnx_net").SerializeToString())
    assert main(["diff", str(tmp_path / "net.onnx"), f"{net}:onnx_net", "--dim", "time=7"]) == 0
    for words in (
        ["--dim", "batch"],
        ["--dim", "batch=0"],
        ["--dim", "=1"],
        ["--input-shape", "1,x"],
        ["--input-shape", "0,3"],
    ):
        with pytest.raises(SystemExit):
            main(["trace", f"{net}:onnx_net", *words])


def test_a_missing_shape_is_asked_for_as_the_option_is_called(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", f"{net}:build"]) == 2
    assert capsys.readouterr().err.endswith("say it, such as --input-shape 1,3,224,224\n")


def test_modules_are_built_without_weights(net: Path) -> None:
    assert all(param.is_meta for param in frontends.build(f"{net}:build").parameters())
    # a model that is there stays as it is
    assert not any(param.is_meta for param in frontends.build(f"{net}:net").parameters())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{net}:nothing", "has no 'nothing'; it has"),
        ("{net}:number", "found a int, expected a model, or a class or function that builds one"),
        ("{net}:len", "has no 'len'"),
        ("{net}:nothing_installed", "No module named 'timm': pip install 'cgir[zoo]'"),
        ("missing.onnx", "missing.onnx: there is no such file"),
        ("{net}:Branches", "small_net.py:10"),
        ("{net}", "does not name a model"),
        ("no.such.module:x", "importing no.such.module failed"),
        ("{net}x.py:build", "there is no file"),
    ],
)
def test_a_bad_model_is_one_line_on_stderr(
    net: Path, target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", target.format(net=net), "--input-shape", "1,3,8,8"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("cgir: ")
    assert error.count("\n") == 1


def test_the_batch_axis_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rnn.py").write_text("import torch\nbuild = lambda: torch.nn.GRU(8, 16)\n")
    target, shape = f"{tmp_path / 'rnn.py'}:build", ["--input-shape", "12,3,8"]
    assert main(["trace", target, *shape]) == 0
    output = capsys.readouterr().out
    assert re.search(r"FLOPs +uncertain 6,912  ", output)
    assert "gru takes axis 1 for the batch, but costs were divided by the 12 examples on axis 0 of input" in output
    for axis in ("1", "input=1"):
        assert main(["trace", target, *shape, "--batch", axis]) == 0
        assert re.search(r"FLOPs +27,648  ", capsys.readouterr().out)
    assert main(["trace", target, "--input-shape", "12,8", "--batch", "none"]) == 0
    assert re.search(r"FLOPs +27,648  ", capsys.readouterr().out)
    assert main(["trace", target, *shape, "--batch", "1", "--batch", "0"]) == 2
    assert "several axes need the names of their inputs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["trace", target, *shape, "--batch", "first"])
