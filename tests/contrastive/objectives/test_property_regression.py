"""Regression of properties against a loop over graphs."""

import numpy as np
import pytest
from pretraining_samples import GRAPHS, PAIRS, context

from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from contrastive.objectives.property_regression import PropertyRegression


@pytest.mark.parametrize("values_of", [properties, path_features])
def test_regression(values_of):
    values, seen = values_of(GRAPHS), context()
    part = PropertyRegression(values, 16).double()
    told = part.head(seen.embeddings).tolist()
    mean, deviation = values.mean(0), values.std(0)
    errors = []
    for row, index in enumerate(PAIRS.indices):
        for column in range(values.shape[1]):
            varies = deviation[column] > 1e-6 * (1 + abs(mean[column]))
            wanted = np.clip((values[index, column] - mean[column]) / deviation[column], -5, 5) if varies else 0.0
            errors.append((told[row][column] - wanted) ** 2)
    assert part(seen).item() == pytest.approx(np.mean(errors), rel=1e-5)
