"""Batches of near pairs: balanced over families, near by brute force, random among ties, a function of (seed, step)."""

import logging

import numpy as np
import pytest

from cgir.errors import CgirError
from contrastive.pair_sampler import NearestNeighbourPairs

RNG = np.random.default_rng(0)
FAMILIES = np.repeat([0, 1, 2], [200, 30, 5])
SPECTRA = RNG.random((235, 11))


def test_pairs_are_near_graphs_of_the_same_family():
    sampler = NearestNeighbourPairs(FAMILIES, SPECTRA, batch=32, neighbours=3, seed=1)
    distance = np.linalg.norm(SPECTRA[:, None] - SPECTRA, axis=2)
    distance[FAMILIES[:, None] != FAMILIES] = np.inf
    np.fill_diagonal(distance, np.inf)
    for step in range(20):
        indices, partners = sampler.draw(step)
        assert len(indices) == 32
        assert (partners[partners] == np.arange(32)).all()
        for anchor, positive in zip(indices[:16], indices[partners][:16], strict=True):
            assert positive in np.argsort(distance[anchor])[:3]


def test_families_are_drawn_equally_often():
    sampler = NearestNeighbourPairs(FAMILIES, SPECTRA, batch=64, seed=2)
    counts = sum(np.bincount(FAMILIES[sampler.draw(step).indices[:32]]) for step in range(30))
    assert counts.min() > 0.9 * counts.max()
    indices = sampler.draw(0).indices[:32]
    # no anchor twice while the family lasts
    assert len(set(indices[FAMILIES[indices] == 0])) == (FAMILIES[indices] == 0).sum()


def test_ties_are_broken_at_random_and_never_by_the_graph_itself():
    """Forty graphs with one spectrum: positives spread over far more of them than `neighbours`."""
    sampler = NearestNeighbourPairs(np.zeros(40, int), np.ones((40, 11)), batch=40, neighbours=4, seed=3)
    pairs = [sampler.draw(step) for step in range(20)]
    assert all((p.indices != p.indices[p.partners]).all() for p in pairs)
    found = {int(p) for pair in pairs for p in pair.indices[20:]}
    assert len(found) > 30


def test_a_batch_depends_on_seed_and_step_only():
    one, two = (NearestNeighbourPairs(FAMILIES, SPECTRA, 16, seed=7) for _ in range(2))
    later = [one.draw(step).indices for step in range(4)][3]
    assert np.array_equal(two.draw(3).indices, later)
    assert not np.array_equal(two.draw(4).indices, later)
    assert not np.array_equal(NearestNeighbourPairs(FAMILIES, SPECTRA, 16, seed=8).draw(3).indices, later)


def test_families_of_one_graph_are_left_out_aloud(caplog):
    with caplog.at_level(logging.WARNING):
        sampler = NearestNeighbourPairs(np.asarray([0, 0, 1]), SPECTRA[:3], batch=8)
    assert "1 families of a single graph" in caplog.text
    assert set(sampler.draw(0).indices) == {0, 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch": 7}, "even"), ({"batch": 2}, "at least 4"), ({"batch": 8, "neighbours": 0}, "neighbours=0")],
)
def test_impossible_batches_are_refused(options, message):
    with pytest.raises(CgirError, match=message):
        NearestNeighbourPairs(FAMILIES, SPECTRA, **options)
    with pytest.raises(CgirError, match="expected a family of at least 2"):
        NearestNeighbourPairs(np.arange(5), SPECTRA[:5], 8)
