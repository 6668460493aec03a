"""Networks that a search may query next: no two of them, and none already asked, have isomorphic graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from frontends.spaces import Space

from .objectives import COSTS, Limit, Rule

MAX_DRAWS = 20_000  # draws without a new network after which a space counts as exhausted
MAX_GRAPHS = 5_000  # graphs without one that keeps to the limits after which nothing does
MAX_SAMPLE_GRAPHS = 20_000  # graphs of one sample, of which few keep to the limits
MIN_ROUND = 8  # networks that are drawn at a time


@dataclass(frozen=True)
class Candidates:
    """Networks that were not queried yet, no two with isomorphic graphs.

    specs: G of the space's specifications.
    graphs: of the networks.
    hashes: of the graphs.
    costs: name -> (G,) what the graphs alone tell, of the names that the search uses.
    predicted: objective -> (G,) what a predictor expects, in the objective's own unit and direction.
    """

    specs: list[Any]
    graphs: GraphBatch
    hashes: list[str]
    costs: dict[str, FloatArray]
    predicted: dict[str, FloatArray]

    def __len__(self) -> int:
        return len(self.specs)

    def select(self, rows: Iterable[int]) -> Candidates:
        """The candidates at `rows`, in that order."""
        chosen = np.fromiter(rows, np.int64)
        return Candidates(
            [self.specs[row] for row in chosen],
            self.graphs.select(chosen),
            [self.hashes[row] for row in chosen],
            {name: values[chosen] for name, values in self.costs.items()},
            {name: values[chosen] for name, values in self.predicted.items()},
        )

    @staticmethod
    def concatenate(parts: Sequence[Candidates]) -> Candidates:
        """All candidates of one or more parts, without what was predicted, one part after the other."""
        return Candidates(
            [spec for part in parts for spec in part.specs],
            GraphBatch.concatenate([part.graphs for part in parts]),
            [digest for part in parts for digest in part.hashes],
            {name: np.concatenate([part.costs[name] for part in parts]) for name in parts[0].costs},
            {},
        )


class CandidateFilter:
    """What a search has asked already and what its limits forbid; the rest may be asked.

    Args:
        space: the search space.
        costs: names of what is computed from graphs, see `objectives.COSTS`.
        limits: on numbers; those on what an oracle answers decide later.
        rules: functions of a spec, whether it may be asked.
    """

    def __init__(
        self, space: Space[Any], costs: Sequence[str], limits: Sequence[Limit] = (), rules: Sequence[Rule] = ()
    ) -> None:
        self.space, self._costs, self._rules = space, tuple(costs), tuple(rules)
        self._graph_limits = [limit for limit in limits if limit.from_graph]
        self._spec_strings, self._hashes = set[str](), set[str]()

    def remember(self, specs: Sequence[Any]) -> None:
        """From now on these networks, and those with isomorphic graphs, are no candidates."""
        if specs:
            self._spec_strings |= set(map(self.space.format, specs))
            self._hashes |= set(graph_hashes(self.space.graphs(specs)))

    def new(self, specs: Iterable[Any], limited: bool = True) -> Candidates:
        """The networks that were not asked, one for each graph: different specs may give isomorphic graphs.

        Args:
            specs: of networks.
            limited: leave out what a limit forbids.
        """
        by_text = {self.space.format(spec): spec for spec in specs}
        texts = [text for text in by_text if text not in self._spec_strings]
        if limited:
            texts = [text for text in texts if all(rule(by_text[text]) for rule in self._rules)]
        new_specs = [by_text[text] for text in texts]
        graphs = self.space.graphs(new_specs)
        rows: dict[str, int] = {}
        for row, digest in enumerate(graph_hashes(graphs) if new_specs else ()):
            if digest in self._hashes:
                self._spec_strings.add(texts[row])  # so that its graph is not built again
            else:
                rows.setdefault(digest, row)
        chosen = np.fromiter(rows.values(), np.int64)
        graphs = graphs.select(chosen)
        found = Candidates(
            [new_specs[row] for row in chosen],
            graphs,
            list(rows),
            {name: COSTS[name](graphs) for name in self._costs},
            {},
        )
        if not limited or not self._graph_limits or not len(found):
            return found
        holds = np.logical_and.reduce([limit.holds(found.costs[limit.name]) for limit in self._graph_limits])
        return found.select(np.flatnonzero(holds))

    def sample_new(self, sample: Callable[[], Any], count: int, max_draws: int = MAX_DRAWS) -> Candidates:
        """Networks that are new and within the limits.

        Args:
            sample: draws a network.
            count: how many; fewer where `sample` keeps returning others.
            max_draws: without a new network after which it gives up.
        """
        parts, tried, hashes = [self.new(())], set(self._spec_strings), set[str]()
        draws = graphs = built = 0  # draws and graphs since the last network that was found
        while len(hashes) < count and draws < max_draws and graphs < MAX_GRAPHS and built < MAX_SAMPLE_GRAPHS:
            specs = [sample() for _ in range(min(max(count - len(hashes), MIN_ROUND), max_draws))]
            untried = {text: spec for spec in specs if (text := self.space.format(spec)) not in tried}
            tried |= set(untried)
            draws, graphs, built = draws + len(specs), graphs + len(untried), built + len(untried)
            part = self.new(untried.values()) if untried else parts[0]
            rows = [row for row, digest in enumerate(part.hashes) if digest not in hashes]
            if rows:
                parts.append(part.select(rows))
                hashes |= set(part.hashes)
                draws = graphs = 0
        return Candidates.concatenate(parts).select(range(min(count, len(hashes))))
