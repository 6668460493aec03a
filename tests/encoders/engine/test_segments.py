"""Sums, maxima and softmaxes over segments against loops, with torch-scatter and without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_samples import DEVICES, random_segments, random_states
from torch import Tensor

from encoders.engine import segments as segments
from encoders.engine.segments import Segments
from encoders.engine.sparse import SparsityPattern

SIZES = [3, 0, 1, 4, 0, 2]
WIDTH = 5


def made() -> tuple[Segments, list[list[int]]]:
    rng = np.random.default_rng(0)
    named = [rng.integers(WIDTH, size=size).tolist() for size in SIZES]
    starts = torch.tensor(np.concatenate([[0], np.cumsum(SIZES)]), dtype=torch.int32)
    return Segments(
        SparsityPattern(starts, torch.tensor([row for rows in named for row in rows], dtype=torch.int32), WIDTH)
    ), named


@pytest.fixture(params=["torch", "torch-scatter"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(segments, "segment_csr", None)
    elif segments.segment_csr is None:
        pytest.skip("torch-scatter is not installed; `make scatter` compiles it and runs this")
    return str(request.param)


def loop(x: Tensor, named: list[list[int]]) -> Tensor:
    return torch.stack(
        [torch.stack([x[row] for row in rows]).amax(0) if rows else torch.zeros_like(x[0]) for rows in named]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maxima_and_their_gradients_are_those_of_a_loop(backend: str, dtype: torch.dtype) -> None:
    parts, named = made()
    x = torch.randn(WIDTH, 7, generator=torch.Generator().manual_seed(1), dtype=dtype)
    weights = torch.randn(len(SIZES), 7, generator=torch.Generator().manual_seed(2), dtype=dtype)
    found, expected = (part.clone().requires_grad_() for part in (x, x))
    out, by_loop = parts.max_pool(found), loop(expected, named)
    torch.testing.assert_close(out, by_loop, rtol=0, atol=0)
    torch.testing.assert_close(parts.max_pool(x), by_loop.detach(), rtol=0, atol=0)  # without a gradient
    (out * weights).sum().backward()
    (by_loop * weights).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)


def test_a_tie_gives_its_gradient_once(backend: str) -> None:
    parts = Segments(
        SparsityPattern(torch.tensor([0, 3], dtype=torch.int32), torch.tensor([0, 1, 1], dtype=torch.int32), 2)
    )
    x = torch.ones(2, 1, requires_grad=True)
    parts.max_pool(x).sum().backward()
    assert x.grad is not None
    assert x.grad.sum() == 1


def test_sums_means_and_softmaxes_are_those_of_a_loop() -> None:
    parts, named = made()
    x = torch.randn(WIDTH, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for row, rows in enumerate(named):
        total = sum((x[i] for i in rows), torch.zeros(3, dtype=torch.float64))
        torch.testing.assert_close((parts.sum @ x)[row], total)
        torch.testing.assert_close((parts.mean @ x)[row], total / max(1, len(rows)))
    soft = parts.softmax(parts.gather @ x)
    flat = iter(soft)
    for rows in named:
        if rows:
            torch.testing.assert_close(
                torch.stack([next(flat) for _ in rows]), torch.softmax(torch.stack([x[i] for i in rows]), 0)
            )


@pytest.mark.parametrize("device", DEVICES)
def test_maximum_and_softmax_of_each_segment(device: str) -> None:
    rng = np.random.default_rng(2)
    segments = random_segments(rng, 30, 9)
    values = random_states(rng, len(segments.pattern.columns), 3)
    split = values.split(segments.sizes.tolist())
    highest, soft = (
        segments.mapped(lambda t: t.to(device)).max(values.to(device)).cpu(),
        segments.mapped(lambda t: t.to(device)).softmax(50 * values.to(device)).cpu(),
    )
    torch.testing.assert_close(highest, torch.stack([v.amax(0) if len(v) else v.new_zeros(3) for v in split]))
    expected = torch.cat([(50 * v).softmax(0) for v in split])
    torch.testing.assert_close(soft, expected)
    back = torch.from_numpy(rng.normal(size=values.shape))
    torch.testing.assert_close(
        *(torch.autograd.grad(out, values, back, retain_graph=True)[0] for out in (soft, expected))
    )
    assert segments.softmax(values + 1e4).isfinite().all()
