"""The loop that all searches share: a query budget, deduplication of networks, and a history to resume from."""

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
from cgir.errors import CgirError, changed_settings
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .history import History

log = logging.getLogger(__name__)
Oracle = Callable[[Any], float]
MAX_DRAWS = 100  # rounds of sampling before a space counts as exhausted


@dataclass(frozen=True)
class Candidates:
    """Networks that were not queried yet, no two with isomorphic graphs.

    specs: G of the space's specifications.
    graphs: of the networks.
    hashes: of the graphs.
    scores: (G,) predicted, NaN where the predictor was not queried.
    """

    specs: list[Any]
    graphs: GraphBatch
    hashes: list[str]
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.specs)

    def select(self, rows: Iterable[int]) -> Candidates:
        """The candidates at `rows`, in that order."""
        chosen = np.fromiter(rows, np.int64)
        return Candidates(
            [self.specs[row] for row in chosen],
            self.graphs.select(chosen),
            [self.hashes[row] for row in chosen],
            self.scores[chosen],
        )

    @staticmethod
    def concatenate(parts: Sequence[Candidates]) -> Candidates:
        """All candidates, one part after the other."""
        return Candidates(
            [spec for part in parts for spec in part.specs],
            GraphBatch.concatenate([part.graphs for part in parts]),
            [digest for part in parts for digest in part.hashes],
            np.concatenate([part.scores for part in parts]),
        )

    def scored(self, predictor: Model) -> Candidates:
        """These candidates with predicted scores, computed in one batch; CgirError if one is not finite."""
        scores = np.asarray(predictor.predict(self.graphs), np.float64)
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise CgirError(
                f"search: the predictor's score of {self.specs[bad[0]]!r} is {scores[bad[0]]}; expected finite numbers"
            )
        return replace(self, scores=scores)


@dataclass(frozen=True)
class Settings:
    """Arguments that all searches share; see `evolve`."""

    space: Space[Any]
    predictor: Model
    oracle: Oracle | None
    queries: int
    seed: int
    allowed: Callable[[Any], bool] | None
    path: str | PathLike[str] | None
    progress: bool


class BudgetedRun:
    """A search in progress. Its next generation depends on (settings, history) alone, so it can resume from a file."""

    def __init__(self, settings: Settings, method: str, sizes: Mapping[str, int], **options: Any) -> None:
        """Check the numbers and read the history at `settings.path`, if there is one.

        Args:
            settings: arguments of the search.
            method: its name, in messages and in the history.
            sizes: further arguments that must be positive integers; they are part of the history's config.
            options: other values that are part of the history's config.

        Raises:
            CgirError: a number is out of range, or the history is of another search.
            FileFormatError: the file at `settings.path` is no history of a search in this space.
        """
        for name, value, minimum in (
            ("seed", settings.seed, 0),
            ("queries", settings.queries, 1),
            *((*size, 1) for size in sizes.items()),
        ):
            if not isinstance(value, int) or value < minimum:
                raise CgirError(f"{method}: {name}={value!r}; expected a whole number, at least {minimum}")
        self.settings, self.method = settings, method
        config = {"method": method, "seed": settings.seed, "oracle": settings.oracle is not None, **sizes, **options}
        self.history = self._load_or_create(json.loads(json.dumps(config)))
        self.spec_strings = set(self.history.spec_strings)
        self.hashes = set(graph_hashes(settings.space.graphs(self.history.specs))) if self.spec_strings else set()

    def run(self, propose: Callable[[BudgetedRun, np.random.Generator], Candidates]) -> History:
        """Query one proposed generation after the other until the budget is spent or nothing new is proposed."""
        history, total = self.history, max(self.settings.queries, len(self.history))
        with tqdm(total=total, desc=self.method, unit="query", disable=not self.settings.progress) as bar:
            while True:
                pending = history.pending()
                bar.update(len(history) - len(pending) - bar.n)
                for row in pending:
                    if row >= self.settings.queries:  # chosen under a larger budget
                        return history
                    self._query(row)
                    bar.update()
                bar.set_postfix(best=f"{history.best_score:.5g}" if history.top(1) else "none yet", refresh=False)
                if len(history) >= self.settings.queries or not self._next_generation(propose):
                    return history

    def filter_new(self, specs: Iterable[Any]) -> Candidates:
        """The networks that are not in the history, one for each graph: different specs may give isomorphic graphs."""
        by_text = {self.settings.space.format(spec): spec for spec in specs}
        new = [text for text in by_text if text not in self.spec_strings]
        new_specs = [by_text[text] for text in new]
        graphs = self.settings.space.graphs(new_specs)
        rows: dict[str, int] = {}
        for row, digest in enumerate(graph_hashes(graphs) if new_specs else ()):
            if digest in self.hashes:
                self.spec_strings.add(new[row])  # so that its graph is not built again
            else:
                rows.setdefault(digest, row)
        chosen = list(rows.values())
        return Candidates(
            [new_specs[row] for row in chosen], graphs.select(chosen), list(rows), np.full(len(rows), nan)
        )

    def sample_new(self, sample: Callable[[], Any], count: int) -> Candidates:
        """`count` networks that are new and allowed; fewer where `sample` keeps returning others."""
        parts, tried, hashes = [self.filter_new(())], set(self.spec_strings), set[str]()
        for _ in range(MAX_DRAWS + 1000 // count):
            sampled = {self.settings.space.format(spec): spec for spec in (sample() for _ in range(count))}
            part = self.filter_new(spec for text, spec in sampled.items() if text not in tried and self._allowed(spec))
            parts.append(part.select(row for row, digest in enumerate(part.hashes) if digest not in hashes))
            tried |= set(sampled)
            hashes |= set(part.hashes)
            if len(hashes) >= count:
                break
        return Candidates.concatenate(parts).select(range(min(count, len(hashes))))

    def _allowed(self, spec: Any) -> bool:
        return self.settings.allowed is None or bool(self.settings.allowed(spec))

    def _load_or_create(self, config: dict[str, Any]) -> History:
        path = self.settings.path
        if path is None or not Path(path).exists():
            return History(self.settings.space, config)
        history = History.load(path, self.settings.space)
        if changes := changed_settings(history.config, config):
            raise CgirError(f"{path}: belongs to another search ({changes[:300]}); use the same, or another path")
        log.info("%s: resuming after %d queries from %s", self.method, len(history), path)
        return history

    def _next_generation(self, propose: Callable[[BudgetedRun, np.random.Generator], Candidates]) -> bool:
        """Append the next generation to the history; False if nothing new is proposed."""
        history, settings = self.history, self.settings
        generation = history.generations[-1] + 1 if len(history) else 0
        proposed = propose(self, np.random.default_rng((settings.seed, 1 + generation)))
        chosen = proposed.select(range(min(settings.queries - len(history), len(proposed))))
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

    def _query(self, row: int) -> None:
        assert self.settings.oracle is not None
        spec = self.history.specs[row]
        answer = self.settings.oracle(spec)
        try:
            value = float(answer)
        except (TypeError, ValueError) as error:
            text = self.settings.space.format(spec)
            raise CgirError(
                f"{self.method}: the oracle answered {answer!r} for {text!r}; "
                "expected a number, NaN where a network failed"
            ) from error
        self.history.answers[row] = value if isfinite(value) else nan
        self._save()

    def _save(self) -> None:
        if self.settings.path is not None:
            self.history.save(self.settings.path)
