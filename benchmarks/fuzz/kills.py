"""Kill what writes files, again and again, and count what is lost: `python -m benchmarks.fuzz.kills --kills 500`.

Half of the kills come at random times, half at the n-th opening, renaming, removal or flush of a file. After each kill
all must be readable, as before the write or as after it; then the same call is made again until it ends, and must give
what an uninterrupted one gives, and leave nothing else in the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch._dynamo  # optimisers do, which takes seconds in each copy of this process
from numpy.random import Generator
from tqdm import tqdm

import contrastive
import search
from cgir import GraphStore, load
from cgir.cli.main import main as cgir
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.store import Job
from encoders import EncoderConfig
from frontends import spaces, tables

from ..report import publish, show, table_of

torch.set_num_threads(1)  # threads do not survive the copy of a process
ABOUT = (
    "kill -9, half of them at random times and half at the n-th opening, renaming, removal or closing of a file. A "
    "campaign kills and starts again until the work ends, and compares with work that nobody interrupted. Unreadable: "
    "what lay there after a kill could not be read; wrong: the end differs; leftovers: files that the uninterrupted "
    "work does not leave."
)
MOMENTS = ((os, "open"), (os, "replace"), (os, "unlink"), (os, "fsync"), (os, "close"))
ATTEMPTS = {False: 2, True: 12}  # kills of one campaign, before the last call is left alone
SPACE = spaces.get("nasbench_macro")
RNG = np.random.default_rng(0)
SPECS = [SPACE.sample(RNG) for _ in range(24)]
GRAPHS = [SPACE.graph(spec) for spec in SPECS]
SIZE = 60_000  # characters of the name of a graph that is saved, for a file of some pages


class Scenario(NamedTuple):
    """Something that writes.

    Attributes:
        title: its row.
        act: (folder) -> None; what is killed, and called again.
        seen: (folder) -> what there is to read, None for nothing; raises where something cannot be read.
        before: (folder) -> None; makes the old files.
        resumes: whether a kill may leave a part of the whole that the next call completes.
    """

    title: str
    act: Callable[[Path], object]
    seen: Callable[[Path], object]
    before: Callable[[Path], object] = lambda folder: None
    resumes: bool = False


class Counts:
    """What became of one scenario."""

    def __init__(self, title: str) -> None:
        self.title, self.campaigns, self.kills, self.unreadable, self.wrong, self.leftovers = title, 0, 0, 0, 0, 0
        self.problems: list[str] = []

    def row(self) -> dict[str, Any]:
        """For the table."""
        names = ("kills", "campaigns", "unreadable", "wrong", "leftovers")
        return {"what": self.title} | {name: getattr(self, name) for name in names}


def _store(folder: Path, name: str = "store") -> object:
    path = folder / name
    if not path.exists() or (path.is_dir() and not (path / "_store.json").exists()):
        return None
    store = GraphStore.open(path)
    return _digest(repr((store.hashes, store.specs, {k: v.tolist() for k, v in store.labels.items()})))


def _bytes(*names: str) -> Callable[[Path], object]:
    def seen(folder: Path) -> object:
        found = [_digest((folder / name).read_bytes()) if (folder / name).exists() else None for name in names]
        return found if any(found) else None

    return seen


def _digest(content: str | bytes) -> str:
    return hashlib.blake2b(content.encode() if isinstance(content, str) else content, digest_size=8).hexdigest()


def _write(folder: Path, name: str = "store", count: int = 24) -> None:
    GraphStore.write(folder / name, GRAPHS[:count], specs=[f"{i}" for i in range(count)], shard_size=5)


def _append_once(folder: Path) -> None:
    if len(GraphStore.open(folder / "store")) == 12:
        GraphStore.append(folder / "store", GRAPHS[12:], specs=[f"{i}" for i in range(12)], shard_size=5)
    else:  # the next write
        _view(folder)


def _view(folder: Path) -> None:
    GraphStore.write(folder / "store", GraphStore.open(folder / "store").deduplicate(), shard_size=5)


def _table(folder: Path) -> None:
    rows = "".join(f"{SPACE.format(spec)},{index}\n" for index, spec in enumerate(SPECS * 20))
    if not (folder / "t.csv").exists():
        (folder / "t.new").write_text("arch,acc\n" + rows)
        os.replace(folder / "t.new", folder / "t.csv")
    words = ["tables", "import", "csv", str(folder / "t.csv"), "--space", "nasbench_macro", "--spec", "arch"]
    _command([*words, "-o", str(folder / "t.parquet")])


def _command(words: list[str]) -> None:
    if status := cgir(words):
        raise CgirError(f"{words[0]}: exit status {status}")


def _read_table(folder: Path) -> object:
    path = folder / "t.parquet"
    return _digest(repr(tables.load(str(path)).columns)) if path.exists() else None


def _sample(folder: Path) -> None:
    _command(["space", "nasbench_macro", "--sample", "40", "-o", str(folder / "store")])


def _sample_file(folder: Path) -> None:
    words = ["space", "nasbench_macro", "--sample", "40", "-o", str(folder / "store.parquet"), "--overwrite"]
    _command(words)


def _parts(folder: Path) -> None:
    from frontends.spaces.data_sets import sample_jobs

    jobs = [Job(*one) for seed in range(3) for one in sample_jobs(SPACE, 6, seed)]
    GraphStore.write_parts(folder / "store", jobs)


def _long(graph: Graph, text: str) -> Graph:
    from dataclasses import replace

    return replace(graph, name=text * SIZE)


def _pretrain(folder: Path) -> None:
    config = contrastive.PretrainConfig.paper(steps=6, batch=8, projection=4, encoder=EncoderConfig(width=16, layers=1))
    contrastive.pretrain(GRAPHS, config, run_dir=folder / "run", checkpoint_every=1, progress=False)


def _read_state(folder: Path) -> object:
    from encoders import load_encoder
    from encoders.models.checkpoints import read_tensors

    state, encoder = folder / "run" / "state.safetensors", folder / "run" / "encoder.safetensors"
    if encoder.exists():
        load_encoder(encoder)
    if not state.exists():
        return None
    read_tensors(state, "pretraining")
    return _bytes("run/state.safetensors", "run/encoder.safetensors")(folder)


def _corpus(folder: Path) -> None:
    from contrastive.corpus.build import write_corpus

    write_corpus(folder / "corpus", scale=0.0001, zoo=False)


def _search(folder: Path) -> None:
    search.aging_evolution(
        SPACE, None, _oracle, 14, population=5, tournament=2, path=folder / "log.jsonl", progress=False
    )


def _oracle(spec: Any) -> float:
    return float(int(_digest(SPACE.format(spec)), 16) % 1000)


def _read_log(folder: Path) -> object:
    """All but the seconds that answers took, byte by byte."""
    from search.log import read_events

    path = folder / "log.jsonl"
    if not path.exists():
        return None
    content = read_events(path)
    events = [{key: value for key, value in event.items() if key != "seconds"} for event in content.events]
    return _digest(json.dumps([content.header, events]))


def _embed(folder: Path) -> None:
    from encoders import Encoder, EncoderConfig, embed_store, save_encoder

    if not (folder / "store").exists():
        raise CgirError("no store")
    if not (folder / "e.safetensors").exists():
        save_encoder(Encoder(EncoderConfig(width=8, layers=1)), folder / "e.safetensors")
    embed_store(folder / "e.safetensors", folder / "store", folder / "vectors")


def _read_vectors(folder: Path) -> object:
    from encoders import StoredEmbeddings

    path = folder / "vectors"
    return _digest(StoredEmbeddings(path).array().tobytes()) if (path / "_store.json").exists() else None


def _one_shot(folder: Path) -> None:
    from search.one_shot import Images, supernet, train

    generator = torch.Generator().manual_seed(0)
    images = Images(torch.rand((32, 1, 8, 8), generator=generator), torch.arange(32) % 2, 2)
    network = supernet("nasbench201", image=(1, 8, 8), classes=2, channels=2, cells=1)
    train(
        network, *images.split(0), steps=3, batch=4, path=folder / "s", checkpoint_every=1, progress=False, device="cpu"
    )


def _read_one_shot(folder: Path) -> object:
    from search.one_shot.checkpoints import load_trained

    if not (folder / "s").exists():
        return None
    load_trained(folder / "s")
    return _bytes("s")(folder)


def _save_predictor(folder: Path, first: float = 0.0) -> None:
    from encoders import Predictor

    Predictor(head="gp").fit(SPACE.graphs(SPECS), np.arange(24.0) + first).save(folder / "p")


def _read_predictor(folder: Path) -> object:
    from encoders import Predictor

    if not (folder / "p").exists() or not any((folder / "p").iterdir()):
        return None
    return _digest(Predictor.load(folder / "p").predict(SPACE.graphs(SPECS)).tobytes())


SCENARIOS = (
    Scenario("GraphStore.write over an old store", _write, _store, lambda f: _write(f, count=12)),
    Scenario("GraphStore.append", _append_once, _store, lambda f: _write(f, count=12)),
    Scenario(
        "GraphStore.write of a .parquet",
        lambda f: _write(f, "s.parquet"),
        lambda f: _store(f, "s.parquet"),
        lambda f: _write(f, "s.parquet", 12),
    ),
    Scenario("GraphStore.write of a view in place", _view, _store, _write),
    Scenario("GraphStore.write_parts", _parts, _store, resumes=True),
    Scenario("contrastive.pretrain(run_dir)", _pretrain, _read_state, resumes=True),
    Scenario("contrastive.corpus", _corpus, lambda f: _store(f, "corpus"), resumes=True),
    Scenario("search(path)", _search, _read_log, resumes=True),
    Scenario("cgir tables import", _table, _read_table, resumes=True),
    Scenario("cgir space --sample, folder", _sample, _store, resumes=True),
    Scenario("cgir space --sample, .parquet", _sample_file, lambda f: _store(f, "store.parquet")),
    Scenario(
        "Graph.save",
        lambda f: _long(GRAPHS[1], "new").save(f / "g.json"),
        lambda f: load(f / "g.json").name[:3],
        lambda f: _long(GRAPHS[0], "old").save(f / "g.json"),
    ),
    Scenario("embed_store", _embed, _read_vectors, lambda f: _write(f), resumes=True),
    Scenario("one_shot.train(path)", _one_shot, _read_one_shot, resumes=True),
    Scenario("Predictor.save", lambda f: _save_predictor(f, 5.0), _read_predictor, _save_predictor),
)


def run(scenario: Scenario, kills: int, seed: int) -> Counts:
    """Kill a scenario until there were so many kills.

    Args:
        scenario: what writes.
        kills: how many, at least.
        seed: of the moments.
    """
    counts, rng = Counts(scenario.title), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root) / "whole"
        whole.mkdir()
        status, size = _forked(lambda: _uninterrupted(scenario, whole))
        if status:
            raise RuntimeError(f"{scenario.title}: {size}")
        old = Path(root) / "old"
        old.mkdir()
        _forked(lambda: scenario.before(old))
        allowed = [_seen(scenario, old), expected := _seen(scenario, whole)]
        names = _names(whole)
        while counts.kills < kills and counts.campaigns < 10 * kills:
            folder = Path(root) / "folder"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(old, folder)
            _campaign(scenario, folder, counts, rng, size, None if scenario.resumes else allowed)
            counts.campaigns += 1
            if (found := _seen(scenario, folder)) != expected:
                counts.wrong += 1
                counts.problems.append(f"after the last call: {found} instead of {expected}")
            if left := _names(folder) - names:
                counts.leftovers += 1
                counts.problems.append(f"left: {sorted(left)[:4]}")
    return counts


def _campaign(
    scenario: Scenario,
    folder: Path,
    counts: Counts,
    rng: Generator,
    size: tuple[float, int],
    allowed: list[object] | None,
) -> None:
    """Kill and call again until a call ends.

    Args:
        scenario: what writes.
        folder: with the old files.
        counts: what is counted.
        rng: of the moments.
        size: seconds and touches of the disk of a whole call.
        allowed: what may be read after a kill; None: anything.
    """
    for attempt in range(ATTEMPTS[scenario.resumes] + 1):
        last = attempt == ATTEMPTS[scenario.resumes]
        at_time = rng.random() < 0.5
        moment = -1 if at_time or last else int(rng.integers(size[1]))
        delay = float(rng.uniform(0, 1.1 * size[0])) if at_time and not last else None
        status, result = _forked(partial(_mortal, scenario, folder, moment), delay)
        if status == 0 and result is None:
            return
        if status != -signal.SIGKILL:
            counts.unreadable += 1
            counts.problems.append(f"the call failed: {result}")
            return
        counts.kills += 1
        found = _seen(scenario, folder)
        if isinstance(found, _Unreadable) or (allowed is not None and found not in allowed):
            counts.unreadable += 1
            counts.problems.append(f"after a kill at {moment}: {found}")


class _Unreadable(str):
    """Why something cannot be read."""


def _seen(scenario: Scenario, folder: Path) -> object:
    status, found = _forked(lambda: scenario.seen(folder))
    return found if status == 0 else _Unreadable(found)


def _uninterrupted(scenario: Scenario, folder: Path) -> tuple[float, int]:
    """Make the old files and the new ones; the seconds and the touches of the disk."""
    scenario.before(folder)
    touched = _on_touch(lambda count: None)
    start = time.monotonic()
    scenario.act(folder)
    return time.monotonic() - start, touched[0]


def _mortal(scenario: Scenario, folder: Path, moment: int) -> None:
    if moment >= 0:
        _on_touch(lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == moment else None)
    scenario.act(folder)


def _on_touch(call: Callable[[int], object]) -> list[int]:
    """Call a function before each touch of the disk, with its number; a list with how many there were."""
    count = [0]

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            call(count[0])
            count[0] += 1
            return function(*args, **options)

        return wrapped

    for where, name in MOMENTS:
        setattr(where, name, watched(getattr(where, name)))
    return count


def _forked(function: Callable[[], Any], delay: float | None = None) -> tuple[int, Any]:
    """Call a function in a copy of this process, which is killed after `delay`; its status, and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            text, status = json.dumps(function()), 0
        except BaseException as error:  # the parent says what
            text, status = json.dumps(f"{type(error).__name__}: {error}"[:500]), 3
        os.write(writing, text.encode())
        os._exit(status)
    os.close(writing)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(said) if said else None


def _names(folder: Path) -> set[str]:
    """All names below a folder, without the digits at random in those of a store's parts."""
    return {"part" if path.name.startswith("part-") else str(path.relative_to(folder)) for path in folder.rglob("*")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all scenarios, print the table, and with `--write` keep it; 1 if anything was lost or left."""
    parser = argparse.ArgumentParser(description="Kill what writes files, and count what is lost.")
    parser.add_argument("--kills", type=int, default=500, help="of all together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the title of the scenarios to run")
    parser.add_argument("--write", action="store_true", help="keep the table for RESULTS.md")
    args = parser.parse_args(arguments)
    chosen = [scenario for scenario in SCENARIOS if args.only in scenario.title]
    found = []
    for number, scenario in enumerate(tqdm(chosen, desc="scenarios", disable=None)):
        found.append(run(scenario, -(-args.kills // len(chosen)), args.seed + number))
        for problem in found[-1].problems[:5]:
            print(f"  {problem}", file=sys.stderr, flush=True)
    table = table_of("processes killed while they write, and started again until they end", [c.row() for c in found])
    show([table])
    if args.write:
        publish("fuzz_kills", "Killed processes", ABOUT, "make fuzz", [table])
    return int(any(counts.unreadable + counts.wrong + counts.leftovers for counts in found))


if __name__ == "__main__":
    sys.exit(main())
