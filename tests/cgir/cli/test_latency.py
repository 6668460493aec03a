"""`cgir latency` as a user meets it: a line, a table fastest first, JSON, and one line for an error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_samples import write_net, write_nets

import cgir
import frontends
from cgir.cli.main import main
from frontends import spaces

FULL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
SHAPE = ["--input-shape", "1,3,32,32"]
FEW = ["--runs", "3"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["latency", "--help"])
    assert capsys.readouterr().out.count("  cgir latency ") == 3


def test_one_network_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_net(tmp_path)
    assert main(["latency", "small_net.py:build", *SHAPE, "--threads", "2"]) == 0
    number = r"[\d.]+"
    assert re.fullmatch(
        rf"small_net.py:build: {number} ms \(median of 50 runs; 10th to 90th percentile {number} to {number} ms; "
        rf"processor time {number} ms; 2 threads, onnxruntime [\d.]+ CPUExecutionProvider\)\n",
        capsys.readouterr().out,
    )


def test_several_networks_are_a_table_fastest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_nets(tmp_path)[:2]
    assert main(["latency", *names, *SHAPE, *FEW]) == 0
    head, *lines, empty, about = capsys.readouterr().out.splitlines()
    assert re.split(r" {2,}", head.strip()) == ["ms", "10 %", "90 %", "cpu ms", "MFLOPs", "M params", "network"]
    rows = [line.split() for line in lines]
    assert sorted(row[-1] for row in rows) == names
    assert float(rows[0][0]) <= float(rows[1][0])
    found = {row[-1]: row[4:6] for row in rows}
    for name in names:
        graph = frontends.trace(frontends.build(name), input_shape=(1, 3, 32, 32))
        assert found[name] == [f"{graph.flops / 1e6:.3f}", f"{graph.num_params / 1e6:.3f}"]
    assert not empty
    assert about.startswith("ms: median of 3 passes of the batch; ")


def test_other_programs_read_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_net(tmp_path)
    proto = frontends.build("small_net.py:onnx_net")
    proto.ir_version = 10
    for name in ("a", "b"):
        Path(f"{name}.onnx").write_bytes(proto.SerializeToString())
    Path("list.txt").write_text("a.onnx\nb.onnx\n")
    assert main(["latency", "@list.txt", *FEW, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["model"] for row in rows) == ["a.onnx", "b.onnx"]
    assert set(rows[0]) == {
        "model", "median_ms", "p10_ms", "p90_ms", "cpu_ms", "runs", "threads", "runtime", "flops", "params",
    }  # fmt: skip
    assert rows[0]["median_ms"] <= rows[1]["median_ms"]
    assert {(row["runs"], row["threads"], row["params"]) for row in rows} == {(3, 1, 0)}


def test_networks_of_a_space_know_their_size(capsys: pytest.CaptureFixture[str]) -> None:
    space = spaces.get("nasbench201")
    spec = space.parse(FULL)
    cgir.GraphStore.write("pool", [space.graph(spec)], family="nasbench201", specs=[FULL])
    assert main(["latency", "pool", *FEW, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["flops"]) == (f"nasbench201:{FULL}", space.graph(spec).flops)
    assert main(["latency", f"nasbench201:{FULL}", "--input-shape", "2,1,8,8", *FEW, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["flops"] == spaces.get("nasbench201", image=(1, 8, 8)).graph(spec).flops


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["small_net.py:build"], "small_net.py:build: the model does not know the shape of its input; say it, such as"),
        (["small_net.py:build", "--input-shape", "1,1,8,8"], "small_net.py:build: latency: Sequential refuses inputs"),
        (["small_net.py:net", "small_net.py:Branches", *SHAPE, "--input-shape", "1"], "small_net.py:net: "),
        (["small_net.py:number", *SHAPE], "found a int, expected a model"),
        (["small_net.py:nothing_installed", *SHAPE], "pip install 'cgir[zoo]'"),
        (["small_net.keras"], "small_net.keras is a TensorFlow or Keras model, and ONNX Runtime measures ONNX"),
        (["small_net.py:onnx_net"], "Unsupported model IR version"),
        (["missing.onnx"], "missing.onnx: there is no such file"),
        (["graph.json"], "graph.json: cannot tell the format from '.json'"),
        (["nasbench201:xx"], "nasbench201: 1 nodes separated by '+' in 'xx'"),
        (["nowhere.parquet"], "nowhere.parquet"),
        ([" "], "the list of networks is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_complaints_are_one_line(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_net(tmp_path)
    Path("small_net.keras").write_bytes(b"x")
    Path("graph.json").write_text("{}")
    assert main(["latency", *words, *FEW]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert complaint in found.err
    assert found.err.startswith("cgir: ")
    assert found.err.count("\n") == 1


@pytest.mark.parametrize("words", [["--runs", "0"], ["--threads", "x"], ["--input-shape", "1,x"]])
def test_wrong_usage_is_answered_by_the_parser(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["latency", "x.py:net", *words])
    assert "cgir latency: error: argument" in capsys.readouterr().err
