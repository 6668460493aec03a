"""One network as PyTorch module, exported program and ONNX file of both exporters: equal canonical graphs.

One model of each timm family and all of torchvision's classification models. Both ONNX exporters fold BatchNorm, so
their files are compared at `level="inference"`. Where an exporter itself fails there is nothing to compare, and the
case does not count in that column.
"""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

import cgir
import frontends
from cgir.atomic_files import atomic_path
from frontends.onnx.weight_stripping import from_bytes
from frontends.torch.torchvision_ops import declare

from .families import REPRESENTATIVES
from .torch_costs import CANONICAL, Outcome, canonical_costs

KEPT = Path("runs/zoo/exports")
DOORS = ("torch.export", "ONNX, torch.export", "ONNX, TorchScript")
COLUMNS = (*DOORS, *CANONICAL)
ROTARY = (
    "sines and cosines of positions are folded from a buffer that the file does not call one, and a folded float "
    "tensor counts as trained"
)
EXCEPTIONS: dict[str, str] = {
    "timm/csatv2: ONNX, torch.export": (
        "adaptive pooling to a size that does not divide the image is decomposed into gathers, masks and means"
    ),
    "timm/gemma4_vit_167m: ONNX, torch.export": (
        "the exporter writes an invalid file: nodes read tensors, `mul_2_min_1` for one, that nothing makes"
    ),
    "timm/deepseek_vit_412m: ONNX, torch.export": ROTARY,
    "timm/vit_tiny_patch16_dinov3_qkvb: ONNX, torch.export": ROTARY,
    "timm/qwen3_vit_88m: ONNX, torch.export": ROTARY,
    "timm/efficientvim_m1: ONNX, TorchScript": (
        "the softmax of four mixing weights is folded into numbers without names, which nothing tells from constants"
    ),
}


def cases() -> list[str]:
    """Families of timm, then torchvision's classification models."""
    declare()
    import torchvision

    return [f"timm/{name}" for name in REPRESENTATIVES] + [
        f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models)
    ]


def check(case: str) -> Outcome:
    """Whether each door leads to the module's graph, else where they part; and that graph's costs."""
    model, x = build(case)
    raw = frontends.trace(model, x, raw=True)
    graphs = {level: cgir.canonicalize(raw, level=level) for level in ("module", "inference")}
    program = _attempt(lambda: torch.export.export(model, (x,), strict=False))
    doors = (program, _kept(case, "dynamo", model, x), _kept(case, "torchscript", model, x))
    found = dict(zip(DOORS, (None if door is None else _compared(graphs, door) for door in doors), strict=True))
    return found | canonical_costs(graphs["module"], raw)


def _compared(graphs: dict[str, cgir.Graph], door: Any) -> bool | str:
    level = "inference" if isinstance(door, bytes) else "module"
    try:
        return cgir.diff(graphs[level], frontends.trace(door, level=level)) or True
    except cgir.CgirError as error:
        return str(error)


def _attempt(export: Callable[[], Any]) -> Any:
    """What an exporter gives, or None: whatever it raises, it is not ours."""
    try:
        with quiet():
            return export()
    except Exception:
        return None


def _kept(case: str, exporter: str, model: torch.nn.Module, x: torch.Tensor) -> bytes | None:
    """An ONNX file without its weights, written once; an empty file where the exporter fails.

    The dynamo exporter takes about 15 s for a network.
    """
    path = KEPT / f"{case.replace('/', '-')}.{exporter}.onnx"
    if not path.exists():
        proto = _attempt(lambda: from_bytes(onnx_file(model, x, exporter == "dynamo")))
        KEPT.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"" if proto is None else proto.SerializeToString())
    return path.read_bytes() or None


def build(case: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A model with random weights in evaluation mode and an input of its usual size, on the current default device."""
    library, _, name = case.partition("/")
    declare()
    if library == "timm":
        import timm

        model = timm.create_model(name)
        size = model.pretrained_cfg["input_size"]
    else:
        import torchvision

        model = torchvision.models.get_model(
            name, weights=None, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
        )
        size = (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
    randomise(model)
    return model.eval(), torch.zeros(1, *size)


def randomise(model: torch.nn.Module) -> None:
    """Randomise weights and statistics, as training does: exporters merge equal tensors and drop zero biases."""
    generator = torch.Generator().manual_seed(0)
    statistics = (buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var")))
    with torch.no_grad():
        for tensor in (*model.parameters(), *statistics):
            if not tensor.is_meta:
                tensor.uniform_(0.1, 1, generator=generator)


def onnx_file(model: torch.nn.Module, x: torch.Tensor, dynamo: bool) -> bytes:
    """What either exporter writes by default.

    Args:
        model: in evaluation mode.
        x: an input.
        dynamo: which of the two exporters.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(model, (x,), path, dynamo=dynamo, external_data=False, verbose=False if dynamo else None)
        return path.read_bytes()


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters and quantisers warn, log and print about every network."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
