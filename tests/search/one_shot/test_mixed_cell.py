"""The mixture by source node against one module per edge."""

import pytest
import torch
from one_shot_naive import pairs, per_edge
from one_shot_samples import tiny
from torch.nn.functional import cross_entropy

from search.one_shot.mixed_cell import AveragePool

CASES = {
    "nasbench201": ("nasbench201", {}),
    "nasbench201, normalised": ("nasbench201", {"normalize": True}),
    "nasbench201, half of the channels": ("nasbench201", {"partial": 2}),
    "darts": ("darts", {}),
    "darts, reductions only": ("darts", {"layers": 1, "normalize": True}),
    "darts, quarter of the channels": ("darts", {"partial": 4}),
    "1shot1, sub-space 1": ("nasbench1shot1", {}),
    "1shot1, sub-space 2, normalised": ("nasbench1shot1", {"subspace": 2, "normalize": True}),
    "1shot1, sub-space 3, half of the channels": ("nasbench1shot1", {"subspace": 3, "partial": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_one_module_per_edge(case: str) -> None:
    name, arguments = CASES[case]
    ours = tiny(name, **arguments).double()
    theirs = per_edge(ours)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (6,), generator=generator)
    values = 0.5 * torch.randn(ours.num_weights, generator=generator, dtype=torch.float64)
    values[::7] = 0  # rules remove options, and differentiate there
    mixtures = [values.clone().requires_grad_() for _ in range(2)]
    answers = [network(x, mixture) for network, mixture in zip((ours, theirs), mixtures, strict=True)]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-12, atol=1e-12)
    for answer in answers:
        cross_entropy(answer, labels).backward()
    torch.testing.assert_close(mixtures[0].grad, mixtures[1].grad, rtol=1e-12, atol=1e-12)
    for mine, parameter in pairs(ours, theirs, lambda parameter: parameter.grad):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 2)])
def test_average_pooling_is_that_of_pytorch(size: tuple[int, int], stride: int) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.AvgPool2d(3, stride, 1, count_include_pad=False)(x)
    answer = AveragePool(stride)(x)
    torch.testing.assert_close(answer, expected, rtol=1e-13, atol=1e-14)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (answer, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-13)
