"""Features of graphs: computed when they are read, kept when graphs are selected, put together or embedded anew."""

from __future__ import annotations

import numpy as np
import pytest
from encoders_samples import random_cnns

from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from cgir.analysis.wl_kernel import wl_distance
from cgir.graph_batch import GraphBatch
from encoders import Encoder, EncoderConfig, GraphTensors
from encoders.features import graph_features
from encoders.features.graph_features import GPInputTransform, GraphFeatures, compute_features

BATCH = GraphBatch.from_graphs(random_cnns(30))
ROWS = np.asarray([4, 0, 17])


def small(seed: int = 0) -> Encoder:
    return Encoder(EncoderConfig(width=8, layers=2), seed)


def refuse(*_: object) -> None:
    raise AssertionError("computed again")


def test_features_are_what_the_functions_give() -> None:
    features = compute_features(BATCH, small())
    assert len(features) == 30
    assert features.embedding is not None
    np.testing.assert_array_equal(features.embedding, small().embed(BATCH))
    np.testing.assert_array_equal(features.properties, properties(BATCH))
    np.testing.assert_array_equal(features.paths, path_features(BATCH))
    np.testing.assert_array_equal(features.vectors(), np.concatenate([small().embed(BATCH), properties(BATCH)], axis=1))
    bare = compute_features(BATCH, None)
    assert bare.embedding is None
    np.testing.assert_array_equal(bare.vectors(), properties(BATCH))
    assert [len(features.dense_views()), len(features.dense_views(embedding=False)), len(bare.dense_views())] == [
        3,
        2,
        2,
    ]


def test_nothing_is_computed_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("properties", "path_features", "wl_features"):
        monkeypatch.setattr(graph_features, name, refuse)
    features = GraphFeatures(GraphTensors(BATCH), small()).select(ROWS)
    both = GraphFeatures.concatenate([features, features])
    assert (len(features), len(both)) == (3, 6)
    with pytest.raises(AssertionError, match="computed again"):
        _ = features.properties


def test_what_is_computed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    features, other = compute_features(BATCH, small()), small(1)
    paths, subtrees = features.paths, features.subtrees
    for name in ("properties", "path_features", "wl_features"):
        monkeypatch.setattr(graph_features, name, refuse)
    monkeypatch.setattr(features.encoder, "embed", refuse)
    selected = features.select(ROWS)
    np.testing.assert_array_equal(selected.vectors(), features.vectors()[ROWS])
    np.testing.assert_array_equal(selected.paths, paths[ROWS])
    assert (selected.subtrees != subtrees[ROWS]).nnz == 0
    anew = compute_features(features, other)  # of the same graphs, by another encoder
    assert anew.embedding is not None
    np.testing.assert_array_equal(anew.embedding, other.embed(BATCH))
    np.testing.assert_array_equal(anew.properties, features.properties)
    np.testing.assert_array_equal(anew.paths, paths)
    both = GraphFeatures.concatenate([features, selected])
    np.testing.assert_array_equal(both.vectors(), np.concatenate([features.vectors(), selected.vectors()]))


def test_distances_of_subtrees_are_those_of_the_kernel() -> None:
    """All subtrees that no labelled graph has are one column, which makes graphs no nearer to each other."""
    features = compute_features(BATCH, None)
    transform = GPInputTransform.fit(features, features)
    *dense, roots = transform(features)
    assert [view.shape[0] for view in dense] == [30, 30]
    matrix = roots.toarray()
    assert (matrix[:, -1] == 0).all()
    sq_dists = ((matrix[:, None] - matrix[None]) ** 2).sum(axis=2)
    expected = wl_distance(features.subtrees, features.subtrees)
    np.testing.assert_allclose(np.sqrt(sq_dists), expected, atol=1e-6)
    few = GPInputTransform.fit(features.select(ROWS), features)(features)[-1]
    assert few.shape[1] < roots.shape[1]
    assert (few.toarray()[ROWS, -1] == 0).all()
    np.testing.assert_allclose((few * few).sum(axis=1), (roots * roots).sum(axis=1))
