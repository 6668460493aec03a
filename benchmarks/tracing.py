"""Tracing ResNet-50 without weights against `torch.export`: `python -m benchmarks.tracing [--write]`.

Both run on a module on the meta device, one after the other in the same process, one thread; the median of the repetitions counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from tqdm import trange

import frontends
from frontends.reference import resnet50, vit_b16

from .report import Table, publish

NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {"ResNet-50": resnet50, "ViT-B/16": vit_b16}
COLUMNS = ("network", "frontends.trace (ms)", "torch.export, strict=False (ms)", "times faster")


def rows(repetitions: int = 9) -> list[dict[str, Any]]:
    """Milliseconds per network, batch 1 at 224 x 224: `trace` to the canonical graph, `export` to an ExportedProgram, and their ratio."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_row(name, build, repetitions) for name, build in NETWORKS.items()]
    finally:
        torch.set_num_threads(threads)


def _row(name: str, build: Callable[[], torch.nn.Module], repetitions: int) -> dict[str, Any]:
    with torch.device("meta"):
        model = build().eval()
    x = torch.empty(1, 3, 224, 224, device="meta")

    def trace() -> object:
        return frontends.trace(model, x)

    def export() -> object:
        return torch.export.export(model, (x,), strict=False)

    times: dict[str, list[float]] = {"trace": [], "export": []}
    for repetition in trange(repetitions + 1, desc=name, leave=False):
        for key, run in (("trace", trace), ("export", export)):
            start = perf_counter()
            run()
            if repetition:  # the first one imports and fills PyTorch's caches
                times[key].append(1000 * (perf_counter() - start))
    trace_ms, export_ms = median(times["trace"]), median(times["export"])
    return {"network": name, "trace": trace_ms, "export": export_ms, "ratio": export_ms / trace_ms}


def main() -> None:
    """Measure, print, and with `--write` keep the table for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9, help="per network and tracer (default 9)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    cells = tuple((row["network"], f"{row['trace']:.0f}", f"{row['export']:.0f}", f"{row['ratio']:.1f}") for row in rows(options.repetitions))
    print(" | ".join(COLUMNS))
    for line in cells:
        print(" | ".join(line))
    if options.write:
        about = "From a module on the meta device to the canonical graph, and to an ExportedProgram; medians, interleaved in one process, one thread."
        publish("tracing", "Tracing without weights", about, "python -m benchmarks.tracing --write", [Table("batch 1, 224 x 224", COLUMNS, cells)])


if __name__ == "__main__":
    main()
