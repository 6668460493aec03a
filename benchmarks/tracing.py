"""Tracing without weights against PyTorch's exporters: `python -m benchmarks.tracing [--write]`.

All run on modules on the meta device, in turns in the same process, on one thread; processor time, the median of the
repetitions. `python -m benchmarks.tracing --llama` is the one measurement that has a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import nn
from tqdm import tqdm

import cgir
import frontends
from frontends.reference import resnet50, vit_b16
from frontends.torch.torchvision_ops import declare

from .report import Table, publish, show
from .zoo.families import REPRESENTATIVES
from .zoo.torch_models import build

REFERENCE: dict[str, Callable[[], nn.Module]] = {"ResNet-50": resnet50, "ViT-B/16": vit_b16}
ONNX = (
    "resnet50",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "efficientnet_b0",
    "convnext_atto",
    "mobilenetv3_small_050",
)
EXPORT, DYNAMO = "torch.export, strict=False", "torch.onnx, dynamo=True"
LLAMA = "LlamaForCausalLM, 69.0 billion parameters, 80 layers, 2,048 tokens"


class Row(NamedTuple):
    """One network: milliseconds to the canonical graph, and by a peer, or why the peer failed."""

    network: str
    trace: float
    peer: float
    failure: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster tracing is."""
        return self.peer / self.trace


def rows(repetitions: int = 9) -> list[Row]:
    """The reference networks at 224 x 224 against `torch.export`."""
    found = []
    for name, make in REFERENCE.items():
        with torch.device("meta"):
            model = make().eval()
        found.append(compare(name, model, (torch.empty(1, 3, 224, 224, device="meta"),), export, repetitions))
    return found


def families(names: Sequence[str], peer: Callable[..., object], repetitions: int) -> list[Row]:
    """Models of timm against a peer, each at its own image size.

    Args:
        names: of timm's models.
        peer: called with a module and its inputs.
        repetitions: of each measurement.
    """
    found = []
    for name in tqdm(names):
        model, inputs = build(f"timm/{name}")
        found.append(compare(name, model, inputs, peer, repetitions))
    return found


def compare(name: str, model: nn.Module, inputs: tuple[Any, ...], peer: Callable[..., object], repetitions: int) -> Row:
    """Trace and export in turns; the first time, which imports and fills caches, does not count.

    Args:
        name: of the row.
        model: on the meta device.
        inputs: of the module.
        peer: called with the module and its inputs.
        repetitions: rounds that count.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions + 1):
        for spent, run in zip(times, (frontends.trace, peer), strict=True):
            gc.collect()  # what the other one left behind
            start = process_time()
            try:
                run(model, inputs)
            except Exception as error:
                if run is frontends.trace:
                    raise
                return Row(
                    name,
                    1000 * median(times[0]),
                    float("nan"),
                    f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}",
                )
            spent.append(1000 * (process_time() - start))
    return Row(name, median(times[0][1:]), median(times[1][1:]))


def export(model: nn.Module, inputs: tuple[Any, ...]) -> object:
    """To an ExportedProgram."""
    return torch.export.export(model, inputs, strict=False)


def export_onnx(model: nn.Module, inputs: tuple[Any, ...]) -> object:
    """To ONNX; without its optimiser, which needs weights that meta tensors have not."""
    return torch.onnx.export(model, inputs, dynamo=True, optimize=False, verbose=False)


def llama() -> tuple[float, float, float]:
    """Trace a large language model, in a fresh process.

    Returns: seconds to the canonical graph, MiB of peak memory before and added by it.
    """
    declare()  # transformers imports torchvision where it is installed
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=32000,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).eval()
    inputs = {"input_ids": torch.empty(1, 2048, dtype=torch.long, device="meta"), "use_cache": False}
    before, start = _peak(), process_time()
    graph = frontends.trace(model, inputs)
    seconds, after = process_time() - start, _peak()
    if graph.num_params != sum(param.numel() for param in model.parameters()):
        raise cgir.TraceError(f"traced {graph.num_params:,} parameters of {LLAMA}")
    return seconds, before, after - before


def _peak() -> float:
    """MiB of memory that this process ever held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _llama_cells() -> tuple[str, ...]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tracing", "--llama"], capture_output=True, text=True, check=True
    )
    seconds, before, added = map(float, done.stdout.split())
    return LLAMA, f"{seconds:.1f}", f"{added:.0f}", f"{before:.0f}"


def table(caption: str, peer: str, found: Sequence[Row]) -> Table:
    """Row by row.

    Args:
        caption: of the table.
        peer: name of the peer.
        found: one for each network.
    """
    cells = tuple(
        (row.network, f"{row.trace:.0f}", row.failure or f"{row.peer:.0f}", "" if row.failure else f"{row.ratio:.1f}")
        for row in found
    )
    return Table(caption, ("network", "frontends.trace (ms)", f"{peer} (ms)", "times faster"), cells)


def summary(peers: Sequence[tuple[str, Sequence[Row]]]) -> Table:
    """Medians and extremes of ratios."""
    cells = []
    for peer, found in peers:
        ratios = sorted((row.ratio, row.network) for row in found if not row.failure)
        (least, slowest), (most, _) = ratios[0], ratios[-1]
        middle = median(ratio for ratio, _ in ratios)
        cells.append(
            (
                peer,
                str(len(found)),
                str(sum(bool(row.failure) for row in found)),
                f"{middle:.1f}",
                f"{least:.1f} ({slowest})",
                f"{most:.1f}",
            )
        )
    return Table(
        "frontends.trace on timm, one model of every family",
        ("against", "models", "peer fails", "times faster, median", "least", "most"),
        tuple(cells),
    )


def main() -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="per network and tracer (default %(default)s)")
    parser.add_argument(
        "--families",
        type=int,
        default=len(REPRESENTATIVES),
        help="how many of timm's families (default: all %(default)s)",
    )
    parser.add_argument(
        "--llama", action="store_true", help="only the large language model: seconds, MiB before, MiB added"
    )
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.llama:
        print(*llama())
        return
    warnings.simplefilter("ignore")  # the exporters' own, on every model
    logging.disable(logging.WARNING)
    few = rows(3 * options.repetitions)
    exported = families(REPRESENTATIVES[: options.families], export, options.repetitions)
    onnx = families(ONNX, export_onnx, options.repetitions)
    slower = [row for row in exported if row.failure or row.ratio < 6]
    tables = [
        table("batch 1, 224 x 224", EXPORT, few),
        summary([(EXPORT, exported), (DYNAMO, onnx)]),
        table(f"families that {EXPORT} refuses, or where tracing is less than 6 times faster", EXPORT, slower),
        table("to ONNX", DYNAMO, onnx),
        Table(
            "memory",
            (
                "network",
                "seconds to the canonical graph",
                "MiB added by it",
                "MiB before: imports and the module on meta",
            ),
            (_llama_cells(),),
        ),
    ]
    show(tables)
    if options.write:
        about = (
            "From a module on the meta device to the canonical graph, and to what PyTorch exports; processor time, "
            "in turns in one process, one thread."
        )
        publish("tracing", "Tracing without weights", about, "python -m benchmarks.tracing --write", tables)


if __name__ == "__main__":
    main()
