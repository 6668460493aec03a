"""onnx's C++ code runs in a process of its own: what ends that process is an error here, and nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import spawn
from pathlib import Path

import onnx
import pytest
from onnx import helper
from onnx_samples import model, small
from running_processes import all_end, runs, written

import frontends
from cgir import LimitError, TraceError
from cgir.limits import DEFAULT, Limits
from frontends.common import worker_process
from frontends.common.trace_request import TraceRequest
from frontends.onnx import node_inference, onnx_process
from frontends.onnx.importer import tensor_sizes
from frontends.onnx.onnx_worker import OWN_BYTES

node = helper.make_node

PARENT = """
import os, sys, time
from pathlib import Path
import onnx
from onnx import helper
import frontends
from cgir import TraceError
from frontends.onnx import onnx_process

def worker():
    return onnx_process._PROCESS._process.pid

split = helper.make_node("Split", ["x"], ["y", "b", "c", "d"], axis=0, num_outputs=2)
gather = helper.make_node("GatherND", ["x", "k"], ["y"], batch_dims=-3)
softmax = helper.make_node("Softmax", ["x"], ["y"], axis=0)

def outcome(node, opset=18, size=(4, 2)):
    x = helper.make_tensor_value_info("x", 1, size)
    k = helper.make_tensor("k", 7, [1], [-1])
    graph = helper.make_graph([node], "g", [x], [helper.make_empty_tensor_value_info("y")], [k])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return f"graph of {len(frontends.trace(model.SerializeToString()))} nodes"
    except TraceError as error:
        return str(error)
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PARENT + code, *arguments], stdout=subprocess.PIPE, text=True
    )


def output(code: str, *arguments: str) -> list[str]:
    with run(code, *arguments) as process:
        lines = process.communicate(timeout=300)[0].splitlines()
    assert process.returncode == 0
    return lines


def kill_worker(number: int = signal.SIGKILL) -> None:
    process = onnx_process._PROCESS._process
    assert process is not None
    os.kill(process.pid, number)


def forget() -> None:
    """Let no answer be known."""
    node_inference._answers.clear()


def test_nodes_that_end_onnx_code_are_errors() -> None:
    """In a child process, as they would end this one; its own children made by fork have a process each."""
    code = """
print(outcome(softmax))
before = worker()
print(outcome(split))
print(outcome(gather, 13, (2, 1, 8)))
print(outcome(softmax))
after = worker()
child = os.fork()
if not child:
    first = outcome(softmax), outcome(helper.make_node("Softmax", ["x"], ["y"], axis=1))
    os._exit(0 if worker() != after and all("graph" in line for line in first) else 3)
print(os.waitpid(child, 0)[1], before != after, outcome(helper.make_node("Softmax", ["x"], ["y"], axis=-1)))
print(worker() == after, before, after)
"""
    lines = output(code)
    assert lines[0] == lines[3] == "graph of 3 nodes"
    assert lines[1] == (
        "the ONNX model: node 0 (Split -> y, b, c, d): ONNX's own code ended with SIGABRT on it; "
        "no valid model does that"
    )
    assert "node 0 (GatherND -> y): ONNX's own code ended with SIG" in lines[2]
    assert lines[4] == "0 True graph of 3 nodes"
    assert lines[5].startswith("True")
    assert all_end(map(int, lines[5].split()[1:]))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_process_ends_with_the_one_that_started_it(number: int, tmp_path: Path) -> None:
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests may have had it ignored
outcome(softmax)
Path(sys.argv[1]).write_text(str(worker()))
time.sleep(600)
"""
    with run(code, str(tmp_path / "number")) as process:
        worker = written(tmp_path / "number")
        assert runs(worker[0])
        process.send_signal(number)
        process.wait(60)
    assert all_end(worker)


ENDLESS = """
class inliner:
    @staticmethod
    def inline_local_functions(data, convert):
        while True:
            pass
"""


@pytest.mark.slow
def test_endless_request_ends_though_the_starting_process_is_gone(tmp_path: Path) -> None:
    """The process is not asked to end: its pipes stay open, as nobody reads or writes while the request runs."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    commands = Path(onnx_process.__file__).with_name("onnx_worker.py")
    command = [sys.executable, "-I", "-S", str(worker_process.WORKER), str(commands), str(tmp_path / "endless.py")]
    settings = json.dumps({"command": "inline", "memory": DEFAULT.bytes, "seconds": 0.5}).encode()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(struct.pack("<3Q", 2, len(settings), 0) + settings)
        process.stdin.flush()
        assert process.wait(60) == -signal.SIGALRM


def test_process_that_somebody_ends_is_started_again() -> None:
    forget()
    assert len(frontends.trace(small()))
    kill_worker()
    time.sleep(0.1)
    forget()
    assert len(frontends.trace(small()))


def test_request_that_takes_too_long() -> None:
    proto = model([node("Softmax", ["x"], ["y"], axis=1)], {"x": [3, 7]}, ["y"])
    frontends.trace(proto)
    forget()
    kill_worker(signal.SIGSTOP)
    with pytest.raises(LimitError, match=r"node 0 \(Softmax -> y\): ONNX's own code takes more than 0.2 seconds"):
        frontends.trace(proto, limits=Limits(seconds=0.2))
    assert frontends.trace(proto).op_counts()["Softmax"] == 1


def test_interrupted_request_leaves_no_answer_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = model([node("Softmax", ["x"], ["y"], axis=1)], {"x": [3, 7]}, ["y"])
    onnx_process.start()
    forget()

    def interrupted(*args: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "_readable", interrupted)
        with pytest.raises(KeyboardInterrupt):
            frontends.trace(proto)
    other = model([node("Transpose", ["x"], ["y"], perm=[1, 0])], {"x": [3, 7]}, ["y"])
    assert tensor_sizes(other, TraceRequest())["y"] == (7, 3)


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false", ""])
def test_process_that_cannot_be_started_is_one_error(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_process._PROCESS.close()
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(spawn, "get_executable", lambda: executable)
        with pytest.raises(TraceError, match=r"process of its own, which cannot be started with .*set_executable"):
            frontends.trace(small())
    assert len(frontends.trace(small()))


def test_threads_share_one_process() -> None:
    def size(width: int) -> tuple[int, ...]:
        nodes = [node("Softmax", ["x"], ["s"], axis=1), node("Transpose", ["s"], ["y"], perm=[1, 0])]
        return tensor_sizes(model(nodes, {"x": [3, width]}, ["y"]), TraceRequest())["y"]

    forget()
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(size, range(2, 80)))
    assert sizes == [(width, 3) for width in range(2, 80)]


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="Linux shows limits")
def test_memory_of_a_request_is_limited() -> None:
    data = small().SerializeToString()
    for num_bytes in (1 << 20, DEFAULT.bytes):
        assert not onnx_process.call("inline", {}, [data], Limits(bytes=num_bytes))[0]
        process = onnx_process._PROCESS._process
        assert process is not None
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        [line] = [line for line in limits if line.startswith("Max address space")]
        assert int(line.split()[3]) == OWN_BYTES + num_bytes


def test_answers_are_those_of_onnx() -> None:
    """Answers are kept for nodes of the same kind, whatever their names; others have their own."""
    forget()
    for axis, size in ((0, (6, 4)), (1, (2, 12)), (0, (6, 4))):
        nodes = [node("Concat", ["x", "x", "x"], ["c"], axis=axis), node("Identity", ["c"], ["y"])]
        proto = model(nodes, {"x": [2, 4]}, ["y"])
        inferred = onnx.shape_inference.infer_shapes(proto).graph.output[0].type.tensor_type.shape.dim
        assert tensor_sizes(proto, TraceRequest())["y"] == size == tuple(dim.dim_value for dim in inferred)
    assert len(node_inference._answers) == 2
    refused = model([node("MatMul", ["x", "x"], ["y"])], {"x": [2, 4]}, ["y"])
    for _ in range(2):
        with pytest.raises(TraceError, match=r"MatMul.*shape inference refuses it: .*Incompatible dimensions"):
            frontends.trace(refused)
