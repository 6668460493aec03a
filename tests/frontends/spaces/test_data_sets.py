"""Samples and enumerations in parts: deterministic, independent of each other, and refused where they have no end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgir_samples import equal_batches
from space_checks import NAMES, small

from cgir import CgirError, GraphStore, SpecError
from cgir.store import Job
from frontends import spaces
from frontends.spaces.data_sets import MOST_LISTED, enumeration_jobs, sample_jobs
from frontends.spaces.space import Space


def specs_of(jobs: list[Job]) -> list[str]:
    return [text for job in jobs for text in job.run().specs]


def drawn(space: Space[Any], seed: int, counts: list[int]) -> list[str]:
    """A sample, written from its definition."""
    specs = []
    for part, count in enumerate(counts):
        rng = np.random.default_rng([seed, part])
        specs += [space.format(space.sample(rng)) for _ in range(count)]
    return specs


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_defined_by_seed_and_part(name: str) -> None:
    space = small(name)
    assert specs_of(sample_jobs(space, 11, 3, size=4)) == drawn(space, 3, [4, 4, 3])
    assert specs_of(sample_jobs(space, 8, 3, size=4)) == drawn(space, 3, [4, 4])
    assert specs_of(sample_jobs(space, 11, 4, size=4)) != drawn(space, 3, [4, 4, 3])


@pytest.mark.parametrize("name", NAMES)
def test_workers_build_the_space_with_its_skeleton(name: str, tmp_path: Path) -> None:
    space = small(name)
    jobs = sample_jobs(space, 9, size=5)
    GraphStore.write_parts(tmp_path / "s", jobs)
    store = GraphStore.open(tmp_path / "s")
    assert equal_batches(store.batch(), space.graphs(map(space.parse, store.specs)))
    assert set(store.families) == {name}
    assert len(store) == 9


@pytest.mark.parametrize("name", ["nasbench201", "transnas_macro", "nasbench1shot1"])
def test_parts_of_an_enumeration_are_all_of_it(name: str) -> None:
    space = spaces.get(name)
    jobs = enumeration_jobs(space, size=1000)
    assert len(jobs) == -(-space.count() // 1000)
    assert specs_of(jobs) == list(map(space.format, space.enumerate()))


@pytest.mark.parametrize("name", ["darts", "nasnet", "ofa_mbv3", "mnasnet", "proxylessnas", "nasbench_nlp"])
def test_what_cannot_be_listed_is_refused_at_once(name: str) -> None:
    start = time.monotonic()
    with pytest.raises(SpecError, match=r"(not finite|networks), too many to list \(more than 10,000,000\); draw some"):
        enumeration_jobs(spaces.get(name))
    assert time.monotonic() - start < 5
    assert spaces.get(name).count() is None or spaces.get(name).count() > MOST_LISTED


def test_a_space_that_workers_cannot_make_is_refused() -> None:
    class Other(type(spaces.get("nasbench201"))):
        pass

    with pytest.raises(CgirError, match=r"not a space of frontends\.spaces\.SPACES"):
        sample_jobs(Other(), 3)
