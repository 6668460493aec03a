"""Lookup tables, hashing and counting of categories: elementwise or of known size, without products or weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cgir
import frontends

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow_samples import quiet  # isort: skip

L = keras.layers
WORDS = ["a", "b", "c", "d"]

# a layer of four values, their type, and the layer behind it with its parameters and FLOPs
LAYERS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any], int, int]] = {
    "integers": (lambda: L.IntegerLookup(vocabulary=[1, 2, 3]), "int32", lambda: L.Embedding(20, 5), 100, 0),
    "words": (lambda: L.StringLookup(vocabulary=WORDS), "string", lambda: L.Embedding(20, 5), 100, 0),
    "words, several unknown": (
        lambda: L.StringLookup(vocabulary=WORDS, num_oov_indices=3),
        "string",
        lambda: L.Embedding(20, 5),
        100,
        0,
    ),
    "one hot": (
        lambda: L.StringLookup(vocabulary=WORDS, output_mode="one_hot"),
        "string",
        lambda: L.Dense(3),
        5 * 3 + 3,
        2 * 4 * 5 * 3,
    ),
    "multi hot": (
        lambda: L.StringLookup(vocabulary=WORDS, output_mode="multi_hot"),
        "string",
        lambda: L.Dense(3),
        5 * 3 + 3,
        2 * 5 * 3,
    ),
    "categories": (
        lambda: L.CategoryEncoding(9, output_mode="multi_hot"),
        "int32",
        lambda: L.Dense(3),
        9 * 3 + 3,
        2 * 9 * 3,
    ),
    "hashing": (lambda: L.Hashing(20), "string", lambda: L.Embedding(20, 5), 100, 0),
    "bins": (lambda: L.Discretization(bin_boundaries=[0.0, 1.0]), "float32", lambda: L.Embedding(20, 5), 100, 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_preprocessing_layers(name: str, tmp_path: Path) -> None:
    layer, dtype, head, params, flops = LAYERS[name]
    inputs = keras.Input((4,), dtype=dtype)
    model = keras.Model(inputs, head()(layer()(inputs)))
    assert model.count_params() == params
    with quiet():
        model.export(tmp_path, verbose=False)
        loaded = tf.saved_model.load(str(tmp_path))
    for saved in (tmp_path, loaded):
        graph = frontends.trace(saved)
        cgir.verify(graph)
        assert (graph.num_params, graph.flops, graph.complete) == (params, flops, True)


def test_tables_of_functions(tmp_path: Path) -> None:
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(WORDS), tf.constant([1.0, 2.0, 3.0, 4.0])), -1.0
    )
    module.weight = tf.Variable(tf.ones((6, 2)))
    module.run = tf.function(lambda x: module.table.lookup(x) @ module.weight, [tf.TensorSpec((1, 6), tf.string)])
    with quiet():
        tf.saved_model.save(module, str(tmp_path), signatures=module.run)
    for model in (module.run, tmp_path):
        graph = frontends.trace(model)
        assert (graph.num_params, graph.flops, graph.complete) == (12, 2 * 6 * 2, True)


def test_tables_of_frozen_graphs() -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(WORDS, [1, 2, 3, 4]), 0)
        indices = table.lookup(v1.placeholder(tf.string, (1, 6), name="x"))
        tf.nn.embedding_lookup(tf.ones((5, 7)), indices, name="y")
    found = frontends.trace(graph.as_graph_def())
    assert found.op_counts()["Output"] == 1
    assert found.nodes[-1].shape == (7, 6)


def test_text_of_open_length_names_the_layers_to_trace(tmp_path: Path) -> None:
    inputs = keras.Input((1,), dtype="string")
    words = L.TextVectorization(vocabulary=WORDS, output_sequence_length=7)(inputs)
    with quiet():
        keras.Model(inputs, L.Embedding(20, 5)(words)).export(tmp_path, verbose=False)
    with pytest.raises(
        cgir.TraceError, match=r"StringSplitV2.*layers before or behind it alone.*tf\.saved_model\.load"
    ):
        frontends.trace(tmp_path)
