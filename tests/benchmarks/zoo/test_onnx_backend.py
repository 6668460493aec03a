"""A fixed sample of the onnx package's backend tests, see `benchmarks/zoo/onnx_backend`."""

from __future__ import annotations

import warnings
from fnmatch import fnmatch

import pytest

from benchmarks.zoo import onnx_backend

EVERY = 40


def expected(case: str, column: str) -> bool:
    return not any(
        fnmatch(case, pattern) or fnmatch(f"{case}: {column}", pattern) for pattern in onnx_backend.EXCEPTIONS
    )


def test_a_sample_of_the_backend_tests() -> None:
    failed = []
    with warnings.catch_warnings():  # numpy's, while the tests compute their data
        warnings.simplefilter("ignore")
        for case in onnx_backend.cases()[::EVERY]:
            if not expected(case, "traces"):
                continue
            failed += [
                f"{case}: {column}"
                for column, holds in onnx_backend.check(case).items()
                if holds not in (True, None) and expected(case, column)
            ]
    assert not failed


@pytest.mark.parametrize("case", ["light/light_squeezenet", "light/light_shufflenet"])
def test_light_networks(case: str) -> None:
    assert set(onnx_backend.check(case).values()) <= {True, None}
