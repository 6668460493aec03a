"""One flipped bit at a random place of every kind of file that the library writes: is it found, or is all the same?

python -m benchmarks.fuzz.bit_flips --flips 300
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cgir
import contrastive
import search
from cgir import CgirError, GraphStore
from cgir.checksums import sealed_json
from cgir.graph import Graph
from cgir.store.manifest import MANIFEST
from contrastive.corpus import build
from encoders import Predictor, load_encoder, save_encoder
from encoders.models.checkpoints import read_tensors
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.predictors.serialization import FILE
from frontends import tables

from ..report import publish, show, table_of
from . import model_files, search_logs, store_files
from .graph_files import prepare as write_graphs

ABOUT = (
    "Every kind of file that the library writes: refused with an error of the library's; same content as before (bytes "
    "that nothing is read from); changed, which nobody would notice; or the process died."
)
OUTCOMES = ("refused", "same", "changed", "crash")
MEMORY, SECONDS, CHUNK = 2 << 30, 20, 50  # of a child, and flips in one


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        title: its row in the table.
        write: `(folder) -> file`: writes one, with what belongs to it, into an empty folder.
        read: `(file) -> content`: all that a user gets from it, compared by its `repr`.
    """

    title: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


def _graph(folder: Path) -> Path:
    write_graphs(folder)
    return folder / "1.json"


def _graph_content(path: Path) -> Any:
    graph: Graph = cgir.load(path)
    return graph.nodes, graph.name, graph.level, graph.notes, graph.detached, graph.known_gaps


def _store(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        store_files.prepare(folder)
        return next(iter(sorted(folder.glob(name))))

    return write


def _store_content(path: Path) -> Any:
    store = GraphStore.open(path if path.name == "one.parquet" else path.parent)
    batch = store.batch()
    labels = {name: values.tobytes() for name, values in store.labels.items()}
    columns = store.families, store.specs, store.hashes, labels, store.spectra.tobytes(), store.num_nodes.tolist()
    return (
        columns,
        batch.kinds,
        batch.kind.tolist(),
        batch.src.tolist(),
        batch.dst.tolist(),
        [graph.nodes for graph in store],
    )


def _table(folder: Path) -> Path:
    family = tables.load("digits").family("nasbench201").select(range(20))
    tables.write_table(
        replace(family, metadata={"origin": "here"}, text_columns={"who": ("é",) * 20}), folder / "t.parquet"
    )
    return folder / "t.parquet"


def _table_content(path: Path) -> Any:
    table = tables.load(str(path))
    columns = {name: values.tobytes() for name, values in table.columns.items()}
    return table.spec_strings, columns, table.space, repr(table.metadata), table.text_columns


def _encoder(folder: Path) -> Path:
    save_encoder(Encoder(EncoderConfig(width=8, layers=1)), folder / "e.safetensors")
    return folder / "e.safetensors"


def _encoder_content(path: Path) -> Any:
    encoder = load_encoder(path)
    return encoder.config, {name: tensor.numpy().tobytes() for name, tensor in encoder.state_dict().items()}


def _predictor(head: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model_files.predictor(head, model_files.networks()).save(folder)
        return folder / FILE

    return write


def _predictor_content(path: Path) -> Any:
    loaded = Predictor.load(path.parent)
    state = loaded.estimator.to_state()
    return loaded.head, loaded.task, state.meta, {name: x.numpy().tobytes() for name, x in state.tensors.items()}


def _weights(kind: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        tensors, meta = read_tensors(path, kind)
        return meta, {name: (str(x.dtype), x.shape, x.numpy().tobytes()) for name, x in tensors.items()}

    return read


def _state(folder: Path) -> Path:
    contrastive.pretrain(model_files.networks(), model_files.CONFIG, run_dir=folder, progress=False)
    return folder / "state.safetensors"


def _supernet(folder: Path) -> Path:
    model_files.supernet_checkpoint(folder / "s.safetensors")
    return folder / "s.safetensors"


def _log(folder: Path) -> Path:
    search_logs.log_of_a_search(folder / "log.jsonl")
    return folder / "log.jsonl"


def _log_content(path: Path) -> Any:
    history = search.History.load(path)
    return repr(history.rows), history.space, history.config, history.objectives, history.limits


def _card(folder: Path) -> Path:
    settings = {"scale": 0.5, "zoo": False, "seed": 0}
    (folder / build.CARD).write_bytes(sealed_json({"settings": settings, "graphs": 3, "families": {"a": 3}}, indent=1))
    return folder / build.CARD


def _card_content(path: Path) -> Any:
    return build.read_card(path)


KINDS = (
    Kind("graph JSON", _graph, _graph_content),
    Kind("data set, one .parquet", _store("one.parquet"), _store_content),
    Kind("data set, a part of a folder", _store("store/*.parquet"), _store_content),
    Kind("data set, manifest of a folder", _store(f"store/{MANIFEST}"), _store_content),
    Kind("label table", _table, _table_content),
    Kind("search log", _log, _log_content),
    Kind("encoder", _encoder, _encoder_content),
    *(Kind(f"predictor: {head}", _predictor(head), _predictor_content) for head in model_files.HEADS),
    Kind("state of a pretraining", _state, _weights("pretraining")),
    Kind("checkpoint of a supernet", _supernet, _weights("one-shot training")),
    Kind("card of a corpus", _card, _card_content),
)


def outcomes(kind: Kind, flips: int, seed: int) -> Counter[str]:
    """How often a flipped bit had which outcome.

    Args:
        kind: of file.
        flips: how many, one at a time.
        seed: of their places.
    """
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        path = kind.write(Path(name))
        data, expected = path.read_bytes(), repr(kind.read(path))
        bits = np.random.default_rng(seed).integers(8 * len(data), size=flips).tolist()
        while bits:
            found = _in_child(kind, path, data, bits[:CHUNK], expected)
            counts.update(found)
            bits = bits[len(found) :]
            path.write_bytes(data)
    return counts


def _in_child(kind: Kind, path: Path, data: bytes, bits: list[int], expected: str) -> list[str]:
    """Outcomes of flips one after the other; the last one is a crash if the process did not survive it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        for which, more in ((resource.RLIMIT_AS, MEMORY + _mapped()), (resource.RLIMIT_CPU, SECONDS + _used())):
            resource.setrlimit(which, (more, resource.RLIM_INFINITY))
        for bit in bits:
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            os.write(writer, (_outcome(kind, path, expected) + "\n").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        found = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    return [*found, "crash"] if status else found


def _outcome(kind: Kind, path: Path, expected: str) -> str:
    try:
        return "same" if repr(kind.read(path)) == expected else "changed"
    except (CgirError, OSError):
        return "refused"
    except BaseException:  # an error of another class counts as one that kills
        return "crash"


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _used() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime)


def rows(flips: int, seed: int = 0) -> list[dict[str, Any]]:
    """A row for each kind of file: its title, the number of flips, and that of each outcome.

    Args:
        flips: of each kind.
        seed: of their places.
    """
    return [
        {"file": kind.title, "flips": flips} | {name: found[name] for name in OUTCOMES}
        for kind in KINDS
        for found in [outcomes(kind, flips, seed)]
    ]


def main() -> int:
    """Flip bits, print the table, and with `--write` keep it for RESULTS.md; 1 if one changed or killed anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=300, help="of each kind of file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of their places (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the table for RESULTS.md")
    options = parser.parse_args()
    found = rows(options.flips, options.seed)
    table = table_of("one flipped bit at a random place of a file, which is then read again", found)
    show([table])
    if options.write:
        publish("fuzz_bits", "Flipped bits", ABOUT, "make fuzz", [table])
    return int(any(row["changed"] or row["crash"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
