"""Check the corpora of real networks: `python -m benchmarks.zoo [CORPUS ...] [--write]`.

It takes hours; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..report import RESULTS, Table, publish
from .runner import not_installed, run, tables, unexplained

CORPORA = (
    "torch_models",
    "transformers_models",
    "exporters",
    "keras_applications",
    "onnx_backend",
    "diffusers_models",
    "graph_networks",
    "kornia_models",
    "monai_networks",
    "open_clip_models",
    "policies",
    "segmentation_models",
    "ultralytics_models",
    "vit_pytorch_models",
    "x_transformers_models",
    "onnx_wheels",
    "onnx_variants",
    "tf_keras_models",
)
ABOUT = (
    "Networks of other libraries, files of other tools, and what must hold for each. Parameters are compared with the "
    "framework's own count, FLOPs with PyTorch's FlopCounterMode (on the meta device where the module runs there, "
    "otherwise on the CPU), ONNX shapes with the recorded outputs and onnxruntime; isomorphic means equal canonical "
    "graphs, node for node. Canonical parameters and FLOPs are those of the canonical graph, compared with PyTorch's "
    "counts where FlopCounterMode ran (of parameters, those that some operator reads), elsewhere with the raw graph's."
    "\n\n"
    "*torch_models*: all of timm and torchvision; of torchvision's detectors the backbone and the heads, without "
    "the selection of boxes by their values. *transformers_models*: every base model of the registry, small "
    "variants of the default configurations, some with the implementation or the inputs that need no values "
    "(benchmarks/zoo/transformers_configs.py and transformers_models.py say which); once more as texts are usually "
    "passed, with their attention mask. *exporters*: one model of each timm family and torchvision's classifiers; "
    "the module, its exported program, and the files of both ONNX exporters are isomorphic (files at inference "
    "level, with random weights); files that an exporter cannot write are not counted. *keras_applications*: all of "
    "keras.applications. *onnx_backend*: the node, simple, operator and light tests of the onnx package.\n\n"
    "*diffusers_models*, *graph_networks* (torch_geometric on a fixed graph), *kornia_models*, *monai_networks*, "
    "*open_clip_models*, *policies* (stable-baselines3), *segmentation_models* (segmentation_models_pytorch), "
    "*ultralytics_models*, *vit_pytorch_models*, *x_transformers_models*: modules of these libraries, not pretrained. "
    "*onnx_wheels*: ONNX files that wheels on PyPI ship, with FLOPs from onnxruntime's sizes. *onnx_variants*: small "
    "networks, some written for this, as onnxruntime quantises and optimises them, with the module's parameters and "
    "FLOPs. *tf_keras_models*: SavedModels that Keras 2 writes of its applications and of a few of its layers in a "
    "row, beside their objects, and TensorFlow files of wheels. Their lists are in the files of benchmarks/zoo."
)


def main() -> int:
    """Run, print unexplained failures, and with `--write` keep the tables for RESULTS.md.

    Returns: exit status, 1 if anything is unexplained.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", help=f"which ones (default: all): {', '.join(CORPORA)}")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/zoo"),
        help="folder of the outcomes; delete it to start afresh (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="only the first LIMIT cases of each")
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep the result for RESULTS.md, of whole corpora; those not chosen keep what was measured before",
    )
    options = parser.parse_args()
    chosen = options.corpora or list(CORPORA)
    if unknown := set(chosen) - set(CORPORA):
        parser.error(f"unknown corpus {', '.join(sorted(unknown))}; known are {', '.join(CORPORA)}")
    if options.write and options.limit:
        parser.error("--write needs whole corpora, without --limit")
    absent = sorted({library for name in chosen for library in not_installed(name)})
    if absent:
        parser.error(f"not installed: {', '.join(absent)}; `make zoo` installs what the corpora need")
    outcomes = {name: run(name, options.runs, options.jobs, options.limit) for name in chosen}
    pairs = [tables(name, outcomes[name]) for name in chosen]
    holds = Table(
        "what holds", ("corpus", "property", "networks"), tuple(row for counts, _ in pairs for row in counts.rows)
    )
    except_for = Table(
        "exceptions",
        ("corpus", "property", "networks", "for example", "reason"),
        tuple(row for _, rest in pairs for row in rest.rows),
    )
    for table in (holds, except_for):
        print("\n".join([table.caption, *("  " + " | ".join(row) for row in table.rows)]))
    if options.write:
        complete = [_with_earlier(table, chosen) for table in (holds, except_for)]
        publish("zoo", "Real networks", ABOUT, "make zoo", complete)
    problems = [line for name in chosen for line in unexplained(name, outcomes[name])]
    print("\n".join(problems) or "every failure has a listed reason")
    return 1 if problems else 0


def _with_earlier(table: Table, chosen: Sequence[str], path: Path = RESULTS / "zoo.json") -> Table:
    """The table with the rows of the corpora that were not chosen as an earlier run wrote them, in the usual order."""
    kept = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.exists() else []
    earlier = [tuple(row) for old in kept if old["caption"] == table.caption for row in old["rows"]]
    rows = [row for row in earlier if row[0] not in chosen] + list(table.rows)
    return replace(table, rows=tuple(sorted(rows, key=lambda row: CORPORA.index(row[0]))))


if __name__ == "__main__":
    sys.exit(main())
