"""Two small networks of keras.applications; `make zoo` checks all of them."""

from __future__ import annotations

import inspect
from fnmatch import fnmatch

import pytest

from benchmarks.zoo import keras_applications as zoo


def test_cases_are_all_networks() -> None:
    import keras

    built = {name for name, member in vars(keras.applications).items() if inspect.isfunction(member)}
    assert set(zoo.cases()) == built
    assert len(built) >= 38
    assert all(any(fnmatch(case, pattern.partition(":")[0]) for case in zoo.cases()) for pattern in zoo.EXCEPTIONS)


@pytest.mark.parametrize("case", ["MobileNet", "MobileNetV3Small"])
def test_sample(case: str) -> None:
    assert zoo.check(case) == dict.fromkeys(zoo.COLUMNS, True)


def test_a_wrong_count_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The column compares: with a parameter more than there are it says both numbers."""
    import keras

    build = keras.applications.MobileNet
    monkeypatch.setattr(zoo, "_difference_to_concrete_function", lambda *_: "")
    monkeypatch.setattr(keras.applications, "MobileNet", lambda **named: build(**named))
    count = keras.Model.count_params
    monkeypatch.setattr(keras.Model, "count_params", lambda model: count(model) + 1)
    assert zoo.check("MobileNet")["parameters equal count_params"] == "found 4,253,864, expected 4,253,865"
