"""Only listed networks are asked; a mutation goes to the nearest of them by an independent distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from search_samples import SPACE, Ridge, planted, quiet

import search
from cgir import CgirError, FileFormatError
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.analysis.wl_kernel import wl_distance, wl_features
from frontends import tables

SPECS = list(dict.fromkeys(SPACE.sample(np.random.default_rng(seed)) for seed in range(80)))
LISTED = search.ListedSpace(SPACE, SPECS)


def test_a_mutation_is_one_of_the_nearest() -> None:
    features = wl_features(SPACE.graphs(SPECS), 3)
    distances = wl_distance(features, features)
    rng = np.random.default_rng(0)
    for row in range(0, len(SPECS), 9):
        others = np.delete(np.arange(len(SPECS)), row)
        far = np.sort(distances[row, others])[19]
        found = {LISTED.mutate(SPECS[row], rng) for _ in range(200)}
        assert SPECS[row] not in found
        assert all(distances[row, SPECS.index(spec)] <= far + 1e-9 for spec in found)
        assert len(found) == 20


def test_graphs_are_those_of_the_space() -> None:
    drawn = [SPECS[3], SPECS[1], SPECS[3]]
    assert graph_hashes(LISTED.graphs(drawn)) == [SPACE.graph(spec).hash for spec in drawn]
    assert set(LISTED.enumerate()) == set(SPECS)
    assert SPECS[0] in LISTED
    assert ("none",) * 6 not in LISTED


@pytest.mark.parametrize("method", [search.evolve, search.random_search, search.aging_evolution])
def test_searches_ask_only_what_is_listed_and_all_of_it(method: object, tmp_path: Path) -> None:
    assert callable(method)
    path = tmp_path / "log.jsonl"
    asked: list[object] = []

    def oracle(spec: tuple[str, ...]) -> float:
        asked.append(spec)
        return planted(spec)

    method(LISTED, Ridge(), oracle, 20, path=path, **quiet)
    history = method(LISTED, Ridge(), oracle, 100, path=path, **quiet)
    assert set(asked) <= set(SPECS)
    assert len(asked) == len({SPACE.graph(spec).hash for spec in SPECS})
    assert search.History.load(path).best == history.best
    history.save(tmp_path / "found.parquet")
    assert tables.load(tmp_path / "found.parquet").space == SPACE
    with pytest.raises(FileFormatError, match=r"among other networks, not in .* networks of"):
        method(search.ListedSpace(SPACE, SPECS[:50]), Ridge(), oracle, 100, path=path, **quiet)
    with pytest.raises(FileFormatError, match="among other networks, not in NasBench201"):
        method(SPACE, Ridge(), oracle, 100, path=path, **quiet)


def test_an_empty_list() -> None:
    with pytest.raises(CgirError, match="no networks are listed"):
        search.ListedSpace(SPACE, [])
