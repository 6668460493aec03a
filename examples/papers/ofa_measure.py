"""Table 4 of Han et al. 2023: top-1 of Once-for-All networks in the authors' supernet, with your weights and ImageNet.

    # the five best networks of a search
    python -m examples.papers.ofa_measure SUPERNET IMAGENET runs/ofa_mbv3/alone/any_0.parquet --best 5
    # one network: kernel and expansion of 20 blocks, depth of 5 stages, image size
    python -m examples.papers.ofa_measure SUPERNET IMAGENET "ks=7 5 ..;e=6 4 ..;d=4 3 4 3 4;r=224"

What you need: the supernet's file, which the authors publish with github.com/mit-han-lab/once-for-all
(`ofa_mbv3_d234_e346_k357_w1.0`, or `_w1.2` with layers 1.2 times as wide), and a folder of ImageNet with `train` and
`val`, each with 1,000 folders of images. Networks are strings of the space `ofa_mbv3`, a text file of them, or what a
search wrote: a history or label table (.parquet), or its log (.jsonl).

How the paper measures (section 5.3 and Table 4): "the top-1 accuracy acquired using the OFA-MBv3 supernet", and no
more is said, nor of which of the two widths its 79.2 % is. Here it is done as by the authors of Once-for-All (their
eval_ofa_net.py). Nothing is trained: a network inherits the supernet's weights, its BatchNorm statistics are taken
anew, and it classifies the 50,000 validation images at the image size of its string. BatchNorm: 2,000 training
images, drawn by the authors' seed, in batches of 200, cropped, mirrored and recoloured at random as in training; mean
and variance are averages over the batches, and every layer sees what the layers before it return with the statistics
of the batch. Validation: the shorter side resized to ceil(r / 0.875), the middle r x r. The labels of
`tables.load("ofa_mbv3")` are of width 1.0.

What has not been run: these weights and ImageNet are not part of this project, so no number of it was measured by this
script. Its tests use small random supernets and made images, and compare with the supernet's own way of computing.

Every measured network is a row of --out, written at once: an interrupted run goes on where it was. `tables.load(out)`
reads it, so that these are labels for the next search. `ofa_accuracy.measurement(...)` is an oracle for `search.evolve`
with `objectives="imagenet_val_top1"`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cgir.atomic_files import locked
from cgir.errors import CgirError, changed_settings
from examples.papers.ofa_accuracy import COLUMNS, TOP1, TOP5, Measurement, measurement
from examples.papers.ofa_networks import read_networks
from frontends import tables
from frontends.spaces.mbconv.ofa_mbv3 import Spec, canonical
from frontends.tables import Table, write_table

NOTE = "measurement"  # key of the table's metadata


def measure(specs: Iterable[Spec], measured: Measurement, out: Path) -> Table:
    """Measure the networks that the table in `out` lacks, each once; the table is written after every one of them.

    Args:
        specs: networks; specs of one network are measured once.
        measured: supernet and images.
        out: a .parquet file; one that is there is continued.

    Raises:
        CgirError: another kind of file, a table of other weights or images, or one that another process writes.
    """
    if out.suffix != ".parquet":
        raise CgirError(f"--out {out}; expected a name that ends in .parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out.with_name(f".{out.name}.lock"), out):
        rows = _continued(measured, out)
        missing = [spec for spec in dict.fromkeys(map(canonical, specs)) if spec not in rows]
        with tqdm(missing, desc="networks", disable=None) as bar:
            for spec in bar:
                rows[spec] = measured(spec)
                write_table(_table(rows, measured), out)
                bar.set_postfix(top1=rows[spec][TOP1], best=max(row[TOP1] for row in rows.values()))
        return _table(rows, measured)


def _continued(measured: Measurement, out: Path) -> dict[Spec, dict[str, float]]:
    if not out.exists():
        return {}
    table = tables.load(out)
    if changed := changed_settings(table.metadata.get(NOTE, {}), measured.settings):
        raise CgirError(f"{out}: a table of other weights or images ({changed}); give another --out")
    values = zip(*(table[name].tolist() for name in COLUMNS), strict=True)
    return {
        measured.supernet.space.parse(text): dict(zip(COLUMNS, row, strict=True))
        for text, row in zip(table.spec_strings, values, strict=True)
    }


def _table(rows: dict[Spec, dict[str, float]], measured: Measurement) -> Table:
    space = measured.supernet.space
    columns = {name: np.asarray([row[name] for row in rows.values()]) for name in COLUMNS}
    origin = "top-1 and top-5 in percent; weights of the supernet, BatchNorm recalibrated"
    metadata = {"origin": origin, NOTE: measured.settings}
    return Table("measured", tuple(map(space.format, rows)), columns, space, metadata=metadata)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.papers.ofa_measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("supernet", type=Path, help="the authors' file of weights")
    parser.add_argument("imagenet", type=Path, help="folder with train and val")
    parser.add_argument(
        "networks",
        nargs="+",
        help='"ks=..;e=..;d=..;r=..", or a file of such lines, .parquet or a search\'s log .jsonl',
    )
    parser.add_argument(
        "--best", type=int, metavar="K", help="of each history or log only the K networks it scored best"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("measured.parquet"), help="table of results; default %(default)s"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        help="where val has no folders of classes: lines NAME NUMBER, from 0, by sorted class names",
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help="classify N random validation images; default all 50,000"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1; default %(default)s")
    parser.add_argument(
        "--workers", type=int, default=min(8, os.cpu_count() or 1), help="threads that read images; default %(default)s"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the networks, best first; an error is one line and exit status 2, an interruption 130."""
    args = build_parser().parse_args(argv)
    try:
        measured = measurement(
            args.supernet,
            args.imagenet,
            labels=args.labels,
            images=args.images,
            device=args.device,
            workers=args.workers,
        )
        table = measure(read_networks(args.networks, measured.supernet.space, args.best), measured, args.out)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    except (CgirError, OSError) as error:
        print(f"ofa_measure: {error}", file=sys.stderr)
        return 2
    for row in np.argsort(-table[TOP1], kind="stable"):
        print(f"top-1 {table[TOP1][row]:.3f} %  top-5 {table[TOP5][row]:.3f} %  {table.spec_strings[row]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
