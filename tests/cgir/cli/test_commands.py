"""The command line as a user meets it: a process of its own, one line for an error, exit statuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cgir_samples import resnet50
from encoders_samples import random_cnns

import cgir
import frontends
from cgir.cli.finetune import HEADS as CLI_HEADS
from cgir.cli.main import main
from encoders.predictors.predictor import HEADS

NET = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))

class Branches(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x + 1
        return x

def keras_net():
    from keras import Sequential, layers

    rest = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(10)]
    return Sequential([layers.Input((32, 32, 3)), *rest])

def onnx_net():
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "time", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])

def nothing_installed():
    raise ModuleNotFoundError("No module named 'timm'", name="timm")

net = build()
number = 3
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "small_net.py"
    path.write_text(NET)
    return path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cgir", *words], capture_output=True, text=True, check=False)


def test_trace_prints_a_report_and_writes_files(net: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.json"
    done = run(
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


def test_a_damaged_graph_is_one_line_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_text('{"format": "cgir-graph", "ver')
    done = run("show", str(path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "damaged.json" in done.stderr
    assert "Traceback" in run("--debug", "show", str(path)).stderr


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = run("--help").stdout
    assert "examples:" in text
    for command in ("trace", "show", "diff", "pretrain", "finetune", "predict", "explain", "demo"):
        assert command in text
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert f"usage: cgir {command}" in (found := capsys.readouterr().out)
        assert command != "trace" or found.count("  cgir trace ") == 2


def test_help_is_there_at_once() -> None:
    """No framework and no layer above the graphs is imported to print a help text."""
    higher = {"torch", "frontends", "encoders", "contrastive", "search", "sklearn"}
    code = f"import sys; from cgir.cli.main import build_parser; build_parser().format_help(); print(*{higher} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_the_heads_of_the_command_line_are_those_of_the_predictor() -> None:
    assert CLI_HEADS == HEADS


def test_from_stores_to_a_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pretrain -> finetune -> predict, on two families whose label is their number of parameters."""
    for name, seed in (("target", 0), ("source", 1)):
        graphs = random_cnns(40, seed)
        specs = [f"{name}-{i}" for i in range(40)]
        cgir.GraphStore.write(
            tmp_path / f"{name}.parquet",
            graphs,
            family=name,
            specs=specs,
            labels={"acc": [g.num_params for g in graphs]},
        )
    target, source, encoder, predictor = (
        str(tmp_path / part) for part in ("target.parquet", "source.parquet", "encoder", "predictor")
    )
    cgir.GraphStore.write(other := str(tmp_path / "other.parquet"), random_cnns(2), labels={"error": [0.0, 1.0]})
    assert main(["pretrain", target, source, "-o", encoder, "--steps", "3", "--batch", "16"]) == 0
    assert (
        main(
            [
                "finetune",
                target,
                "--label",
                "acc",
                "--encoder",
                encoder,
                "--sources",
                source,
                "--limit",
                "15",
                "-o",
                predictor,
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["predict", target, "--predictor", predictor, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    rank, _, spread, name = lines[1].split()
    assert (rank, name.startswith("target-")) == ("1", True)
    assert float(spread) > 0
    store = cgir.GraphStore.open(target)
    assert store.labels["acc"][store.specs.index(name)] > np.median(store.labels["acc"])
    assert (
        main(
            [
                "finetune",
                target,
                "--label",
                "acc",
                "--encoder",
                "none",
                "--head",
                "carl",
                "--limit",
                "15",
                "-o",
                predictor,
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["predict", target, "--predictor", predictor, "--top", "3"]) == 0
    # one network has no spread
    assert [len(line.split()) for line in capsys.readouterr().out.splitlines()] == [3, 3, 3, 3]
    for words in ([target, "--label", "loss"], [target, "--label", "acc", "--sources", other]):
        assert main(["finetune", *words, "--encoder", "none", "-o", predictor]) == 2
        assert re.search(r"no label '(loss|acc)'; .* (acc|error)$", capsys.readouterr().err)
