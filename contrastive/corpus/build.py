"""Builds the unlabelled corpus that the shipped encoder is pretrained on, without any download.

It has networks of every search space, sampled uniformly and on random walks of mutations, in published and in scaled
skeletons (`search_spaces`), and the models of timm, torchvision and transformers at two resolutions, with mutations
(`model_zoo`). No two graphs are equal; the family of each is its search space or library.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cgir.atomic_files import atomic_path
from cgir.checksums import check_json, note_missing, sealed_json
from cgir.errors import CgirError, printable
from cgir.interrupts import Terminated, advised, termination_as_exception
from cgir.store.graph_store import GraphStore
from cgir.store.manifest import MANIFEST
from cgir.strict_json import parse_object

from . import model_zoo, search_spaces

CARD = "corpus.json"

log = logging.getLogger(__name__)


def write_corpus(out: str | PathLike[str], scale: float = 1.0, zoo: bool = True, seed: int = 0) -> GraphStore:
    """Write the corpus as a `GraphStore`, with settings, counts by family and versions of libraries in `corpus.json`.

    Each part is a store of its own in `OUT.parts-SEED-SCALE` until all are done; an interrupted run resumes with the
    parts that are missing. A finished corpus is not written again.

    Args:
        out: the folder.
        scale: fraction of the networks; at 1 there are more than 200,000 different ones.
        zoo: whether the models of timm, torchvision and transformers are traced; a library that is not installed is
            left out with a warning.
        seed: of all random choices. Equal arguments (and equal versions of the libraries) give equal corpora.

    Raises:
        CgirError: `scale` is not positive, or `out` exists with other settings or as something else.
    """
    target = Path(out)
    if not 0 < scale < float("inf"):
        raise CgirError(f"corpus: scale={scale}; expected a positive number, 1 for the whole corpus")
    settings = {"scale": scale, "zoo": zoo, "seed": seed}
    folder = target.with_name(f"{target.name}.parts-{seed}-{scale:g}")
    if not _finished(target, settings):
        folder.mkdir(parents=True, exist_ok=True)
        jobs = _jobs(scale, zoo, seed)
        with advised(f"corpus: the parts that are complete stay in {folder}, and the same call makes the others"):
            for name, job in tqdm(jobs.items(), desc="parts of the corpus", unit="part", disable=None):
                if not (folder / name / MANIFEST).exists():
                    job(folder / name)
        merged = folder / "whole"
        GraphStore.write(merged, GraphStore.merge([GraphStore.open(folder / name) for name in jobs]).deduplicate())
        _write_card(merged, settings)
        os.replace(merged, target)  # card and all, or nothing
    shutil.rmtree(folder, ignore_errors=True)
    return GraphStore.open(target)


def _jobs(scale: float, zoo: bool, seed: int) -> dict[str, Callable[[Path], None]]:
    """Name of each part -> the function that writes it to a path."""
    jobs: dict[str, Callable[[Path], None]] = {
        part.name: partial(search_spaces.write_part, part, scale=scale, seed=seed) for part in search_spaces.PARTS
    }
    for part in model_zoo.parts(scale, seed) if zoo else ():
        jobs[part.name] = partial(model_zoo.write_part, part, seed=seed)
    return jobs


def _finished(target: Path, settings: dict[str, Any]) -> bool:
    """Whether the corpus exists; CgirError if something else does."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        found = read_card(target / CARD)["settings"]
    except (OSError, KeyError, CgirError) as error:
        raise CgirError(
            f"{target}: exists and is no corpus with a readable {CARD} ({error}); remove it or choose another path"
        ) from error
    if found != settings:
        raise CgirError(f"{target}: holds the corpus of {found}, not of {settings}; remove it or choose another path")
    return True


def read_card(path: Path) -> dict[str, Any]:
    """The card of a corpus. FileFormatError if it is damaged, OSError if it cannot be read."""
    data = path.read_bytes()
    card = parse_object(path, data)
    if not check_json(path, data, card):
        note_missing(path, "remove the corpus and write it again")
    return card


def _write_card(target: Path, settings: dict[str, Any]) -> None:
    store = GraphStore.open(target)
    card = {
        "settings": settings,
        "graphs": len(store),
        "nodes": int(store.num_nodes.sum()),
        "families": dict(Counter(store.families).most_common()),
        "versions": model_zoo.versions() if settings["zoo"] else {},
    }
    with atomic_path(target / CARD) as path:
        path.write_bytes(sealed_json(card, indent=1))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m contrastive.corpus`."""
    parser = argparse.ArgumentParser(prog="python -m contrastive.corpus", description="Write the unlabelled corpus.")
    parser.add_argument("out", type=Path, help="folder")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="fraction of the networks (default 1: more than 200,000)"
    )
    parser.add_argument(
        "--no-zoo", action="store_true", help="without the models of timm, torchvision and transformers"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with termination_as_exception():
            write_corpus(args.out, args.scale, not args.no_zoo, args.seed)
    except (CgirError, OSError) as error:
        parser.exit(1, f"{printable(error)}\n")
    except KeyboardInterrupt as error:
        parser.exit(143 if isinstance(error, Terminated) else 130, f"interrupted: {printable(error)}\n")
    log.info("%s", (args.out / CARD).read_text(encoding="utf-8"))
