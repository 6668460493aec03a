"""What the process of onnx's C++ code does: `onnx_process` starts it, `frontends/common/worker.py` loads this file.

Nothing but the standard library and the extension module is imported, so that it starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, TypeAlias

OWN_BYTES = 1 << 30  # address space that the process takes without a model
Extension: TypeAlias = Any  # onnx's C++ module


def _infer(extension: Extension, head: dict[str, Any], parts: Sequence[bytes]) -> list[bytes]:
    """Types of a node's results, empty where unknown; the parts are the node, then type and contents of operands."""
    schema = extension.defs.get_schema(head["op"], head["version"], head["domain"])
    names = [f"i{slot}" for slot in head["slots"]]
    types = dict(zip(names, parts[1::2], strict=True))
    contents = {name: part for name, part in zip(names, parts[2::2], strict=True) if part}
    opsets = head["opsets"]
    found = schema._infer_node_outputs(parts[0], types, contents, {}, opsets, head["ir_version"])
    return [found.get(f"o{slot}", b"") for slot in range(head["results"])]


def _inline(extension: Extension, head: dict[str, Any], parts: Sequence[bytes]) -> list[bytes]:
    """A model with the bodies of its functions in place of their calls."""
    return [extension.inliner.inline_local_functions(parts[0], False)]


def load(path: str) -> dict[str, Callable[[dict[str, Any], Sequence[bytes]], list[bytes]]]:
    """The commands.

    Args:
        path: of onnx's extension module.
    """
    spec = spec_from_file_location("onnx.onnx_cpp2py_export", path)
    assert spec is not None
    assert spec.loader is not None
    extension = module_from_spec(spec)
    spec.loader.exec_module(extension)
    return {"infer": partial(_infer, extension), "inline": partial(_inline, extension)}
