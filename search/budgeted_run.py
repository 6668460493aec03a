"""What all searches share: a budget, no network asked twice, and a history that outlives an interruption."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.errors import CgirError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .history import History

log = logging.getLogger(__name__)
Oracle = Callable[[Any], float]
MAX_DRAWS = 100  # so many times as many networks are drawn as are wanted, before nothing new counts as left


@dataclass(frozen=True)
class Candidates:
    """Networks that were not queried yet, each graph once; `scores`: the predictor's (G,), NaN where it was not asked."""

    specs: list[Any]
    graphs: GraphBatch
    hashes: list[str]
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.specs)

    def select(self, rows: Iterable[int]) -> Candidates:
        """Some of them, in this order."""
        chosen = np.fromiter(rows, np.int64)
        return Candidates(
            [self.specs[row] for row in chosen],
            self.graphs.select(chosen),
            [self.hashes[row] for row in chosen],
            self.scores[chosen],
        )

    @staticmethod
    def joined(parts: Sequence[Candidates]) -> Candidates:
        """All of them, one part after the other."""
        specs, hashes = (
            [spec for part in parts for spec in part.specs],
            [digest for part in parts for digest in part.hashes],
        )
        return Candidates(
            specs,
            GraphBatch.concatenate([part.graphs for part in parts]),
            hashes,
            np.concatenate([part.scores for part in parts]),
        )

    def scored(self, predictor: Model) -> Candidates:
        """The same with the predictor's scores, asked for in one batch. CgirError if one is not finite."""
        scores = np.asarray(predictor.predict(self.graphs), np.float64)
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise CgirError(
                f"search: the predictor's score of {self.specs[bad[0]]!r} is {scores[bad[0]]}; expected finite numbers"
            )
        return replace(self, scores=scores)


@dataclass(frozen=True)
class Settings:
    """What every search is called with; see `evolve`."""

    space: Space[Any]
    predictor: Model
    oracle: Oracle | None
    queries: int
    seed: int
    allowed: Callable[[Any], bool] | None
    path: str | PathLike[str] | None
    progress: bool


class BudgetedRun:
    """A search that is going on. What its next generation will be depends on (settings, history) alone, so that it can
    be taken up from a file.
    """

    def __init__(self, settings: Settings, method: str, sizes: Mapping[str, int], **options: Any) -> None:
        for name, value, least in (
            ("seed", settings.seed, 0),
            ("queries", settings.queries, 1),
            *((*size, 1) for size in sizes.items()),
        ):
            if not isinstance(value, int) or value < least:
                raise CgirError(f"{method}: {name}={value!r}; expected a whole number, at least {least}")
        self.settings, self.method = settings, method
        config = {"method": method, "seed": settings.seed, "oracle": settings.oracle is not None, **sizes, **options}
        self.history = self._resumed(json.loads(json.dumps(config)))
        self.spec_strings = set(self.history.spec_strings)
        self.hashes = set(graph_hashes(settings.space.graphs(self.history.specs))) if self.spec_strings else set()

    def run(self, propose: Callable[[BudgetedRun, np.random.Generator], Candidates]) -> History:
        """Query what `propose` gives, a generation after the other, until the budget is spent or nothing new is left."""
        history, total = self.history, max(self.settings.queries, len(self.history))
        with tqdm(total=total, desc=self.method, unit="query", disable=not self.settings.progress) as bar:
            while True:
                pending = history.pending()
                bar.update(len(history) - len(pending) - bar.n)
                for row in pending:
                    if row >= self.settings.queries:  # planned under a larger budget
                        return history
                    self._ask(row)
                    bar.update()
                bar.set_postfix(best=f"{history.best_score:.5g}" if history.top(1) else "none yet", refresh=False)
                if len(history) >= self.settings.queries or not self._choose(propose):
                    return history

    def filter_new(self, specs: Iterable[Any]) -> Candidates:
        """Those that are not in the history, each graph once: what is written differently may be one network."""
        by_text = {self.settings.space.format(spec): spec for spec in specs}
        new = [text for text in by_text if text not in self.spec_strings]
        found = [by_text[text] for text in new]
        graphs = self.settings.space.graphs(found)
        rows: dict[str, int] = {}
        for row, digest in enumerate(graph_hashes(graphs) if found else ()):
            if digest in self.hashes:
                self.spec_strings.add(new[row])  # so that it is not compiled again
            else:
                rows.setdefault(digest, row)
        chosen = list(rows.values())
        return Candidates([found[row] for row in chosen], graphs.select(chosen), list(rows), np.full(len(rows), nan))

    def sample_new(self, draw: Callable[[], Any], count: int) -> Candidates:
        """`count` networks that are new and allowed, or fewer, if `draw` does not find so many."""
        parts, tried, hashes = [self.filter_new(())], set(self.spec_strings), set[str]()
        for _ in range(MAX_DRAWS + 1000 // count):
            drawn = {self.settings.space.format(spec): spec for spec in (draw() for _ in range(count))}
            part = self.filter_new(spec for text, spec in drawn.items() if text not in tried and self._allowed(spec))
            parts.append(part.select(row for row, digest in enumerate(part.hashes) if digest not in hashes))
            tried |= set(drawn)
            hashes |= set(part.hashes)
            if len(hashes) >= count:
                break
        return Candidates.joined(parts).select(range(min(count, len(hashes))))

    def _allowed(self, spec: Any) -> bool:
        return self.settings.allowed is None or bool(self.settings.allowed(spec))

    def _resumed(self, config: dict[str, Any]) -> History:
        path = self.settings.path
        if path is None or not Path(path).exists():
            return History(self.settings.space, config)
        history = History.load(path, self.settings.space)
        different = [
            f"{key} {history.config.get(key)!r} there, {value!r} now"
            for key, value in config.items()
            if history.config.get(key) != value
        ]
        if different:
            raise CgirError(
                f"{path}: belongs to another search ({'; '.join(different)[:300]}); use the same, or another path"
            )
        log.info("%s: going on after %d queries from %s", self.method, len(history), path)
        return history

    def _choose(self, propose: Callable[[BudgetedRun, np.random.Generator], Candidates]) -> bool:
        """Put the next generation into the history; False if there is none."""
        history, settings = self.history, self.settings
        generation = history.generations[-1] + 1 if len(history) else 0
        found = propose(self, np.random.default_rng((settings.seed, 1 + generation)))
        chosen = found.select(range(min(settings.queries - len(history), len(found))))
        if not len(chosen) and not len(history):
            raise CgirError(f"{self.method}: none of the networks that were drawn is allowed; check `allowed`")
        if not len(chosen):
            log.warning(
                "%s: nothing new was found, so it ends after %d of %d queries",
                self.method,
                len(history),
                settings.queries,
            )
            return False
        history.add(chosen.specs, (chosen.scored(settings.predictor) if settings.oracle is None else chosen).scores)
        self.spec_strings |= {settings.space.format(spec) for spec in chosen.specs}
        self.hashes |= set(chosen.hashes)
        self._save()
        return True

    def _ask(self, row: int) -> None:
        assert self.settings.oracle is not None
        spec = self.history.specs[row]
        answer = self.settings.oracle(spec)
        try:
            value = float(answer)
        except (TypeError, ValueError) as error:
            text = self.settings.space.format(spec)
            raise CgirError(
                f"{self.method}: the oracle answered {answer!r} for {text!r}; expected a number, NaN where a network failed"
            ) from error
        self.history.answers[row] = value if isfinite(value) else nan
        self._save()

    def _save(self) -> None:
        if self.settings.path is not None:
            self.history.save(self.settings.path)
