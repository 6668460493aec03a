"""onnx's C++ code in a process of its own: some files make it end the process that it runs in."""

from __future__ import annotations

from pathlib import Path

from onnx import onnx_cpp2py_export

from frontends.common.worker_process import WorkerProcess

_PROCESS = WorkerProcess("ONNX", Path(__file__).with_name("onnx_worker.py"), onnx_cpp2py_export.__file__)
start, call = _PROCESS.start, _PROCESS.call
