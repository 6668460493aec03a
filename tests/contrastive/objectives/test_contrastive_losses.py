"""Contrastive losses against loops written from the paper's equations 4.1 to 4.5."""

from math import exp, log

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from contrastive.objectives.contrastive_losses import (
    log_similarity,
    relative_distance,
    simclr,
    spectral_supcon,
    spectral_weights,
    supcon,
    weighted_log_similarity,
)

B, TAU = 9, 0.2
GENERATOR = torch.Generator().manual_seed(0)
Z = normalize(torch.randn(B, 5, dtype=torch.float64, generator=GENERATOR)).requires_grad_()
SPECTRA = 0.1 * torch.randn(B, 11, dtype=torch.float64, generator=GENERATOR)
FAMILIES = torch.tensor([0, 1, 0, 1, 0, 2, 1, 0, 1])  # row 5 is alone
PARTNERS = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6, 0])


def chi(i, j):  # eq. 4.1
    sim = lambda a, b: Z[a].tolist() @ np.asarray(Z[b].tolist()) / TAU  # noqa: E731
    return log(exp(sim(i, j)) / sum(exp(sim(i, r)) for r in range(B) if r != i))


def others(i):  # P(i)
    return [s for s in range(B) if s != i and FAMILIES[s] == FAMILIES[i]]


def alpha(i, sign):
    sigma = {s: float(np.linalg.norm(SPECTRA[i].numpy() - SPECTRA[s].numpy())) for s in others(i)}
    total = sum(exp(sign * value / 0.05) for value in sigma.values())
    return {s: exp(sign * value / 0.05) / total for s, value in sigma.items()}


def test_agreement():
    expected = [[chi(i, j) if i != j else 0.0 for j in range(B)] for i in range(B)]
    np.testing.assert_allclose(log_similarity(Z, TAU).detach().numpy(), expected, atol=1e-10)


def test_simclr_eq_4_2():
    assert simclr(Z, PARTNERS, TAU).item() == pytest.approx(-sum(chi(i, int(PARTNERS[i])) for i in range(B)) / B)


def test_supcon_eq_4_3():
    expected = sum(-1 / len(others(i)) * sum(chi(i, s) for s in others(i)) for i in range(B) if others(i)) / B
    assert supcon(Z, FAMILIES, TAU).item() == pytest.approx(expected)


@pytest.mark.parametrize("sign", [-1, 1])
def test_spectral_supcon_eq_4_5(sign):
    expected = -sum(weight * chi(i, s) for i in range(B) for s, weight in alpha(i, sign).items()) / B
    assert spectral_supcon(Z, FAMILIES, SPECTRA, TAU, sign).item() == pytest.approx(expected)


def test_nearest_graph_weighs_most_and_farthest_with_the_printed_sign():
    for sign, best in ((-1, min), (1, max)):
        weights = spectral_weights(FAMILIES, SPECTRA, sign)
        assert weights[5].abs().sum() == 0
        for i in set(range(B)) - {5}:
            sigma = {s: torch.linalg.norm(SPECTRA[i] - SPECTRA[s]).item() for s in others(i)}
            assert weights[i].argmax() == best(sigma, key=sigma.__getitem__)
            assert weights[i].sum().item() == pytest.approx(1)
            assert weights[i][[s for s in range(B) if s not in others(i)]].abs().sum() == 0


def test_some_anchors_are_those_rows_of_all_and_shares_add_up():
    cuts = [slice(0, 4), slice(4, B)]
    torch.testing.assert_close(torch.cat([log_similarity(Z, TAU, rows) for rows in cuts]), log_similarity(Z, TAU))
    alphas = [spectral_weights(FAMILIES, SPECTRA, rows=rows) for rows in cuts]
    torch.testing.assert_close(torch.cat(alphas), spectral_weights(FAMILIES, SPECTRA))
    shares = [weighted_log_similarity(alpha, Z, TAU, rows) for alpha, rows in zip(alphas, cuts, strict=True)]
    assert sum(shares).item() == pytest.approx(spectral_supcon(Z, FAMILIES, SPECTRA, TAU).item())


def test_relative_distances_have_mean_one_over_positives():
    distance = torch.cdist(SPECTRA, SPECTRA)
    found = relative_distance(FAMILIES, distance)
    for i in range(B):
        mean = sum(distance[i, s].item() for s in others(i)) / max(1, len(others(i)))
        expected = distance[i] / mean if mean else torch.zeros(B)
        np.testing.assert_allclose(found[i], expected, rtol=1e-12)
    assert relative_distance(torch.zeros(B), torch.zeros(B, B, dtype=torch.float64)).abs().sum() == 0


def test_equal_spectra_make_it_supcon():
    same = torch.ones(B, 11, dtype=torch.float64)
    assert spectral_supcon(Z, FAMILIES, same, TAU).item() == pytest.approx(supcon(Z, FAMILIES, TAU).item())


def test_nearly_equal_spectra_are_told_apart():
    """sigma of 1e-6 next to eigenvalues near 1, in a batch larger than cdist's switch to matrix products."""
    spectra = torch.ones(64, 11, dtype=torch.float64)
    spectra[:, 0] += 1e-6 * torch.arange(64)
    weights = spectral_weights(torch.zeros(64), spectra, spread=1e-6)
    assert weights[10].argmax().item() in (9, 11)
    assert weights[10, 12] == pytest.approx(weights[10, 11].item() / np.e, rel=1e-3)


@pytest.mark.parametrize(
    "loss",
    [lambda z: simclr(z, PARTNERS), lambda z: supcon(z, FAMILIES), lambda z: spectral_supcon(z, FAMILIES, SPECTRA)],
)
def test_closed_form_for_identical_views_and_finite_gradients(loss):
    """All projections equal: every log similarity is -log(B - 1), and row 5, alone, counts 0 where families count."""
    z = normalize(torch.ones(B, 4, dtype=torch.float64)).requires_grad_()
    value = loss(z)
    anchors = B if torch.equal(value, simclr(z, PARTNERS)) else B - 1
    assert value.item() == pytest.approx(log(B - 1) * anchors / B)
    assert torch.isfinite(torch.autograd.grad(value, z)[0]).all()
    apart = torch.eye(B, dtype=torch.float64).requires_grad_()
    assert torch.isfinite(torch.autograd.grad(loss(apart), apart)[0]).all()
    assert torch.autograd.gradcheck(loss, (Z,))


def test_alone_everywhere_is_zero_without_nan():
    value = spectral_supcon(Z, torch.arange(B), SPECTRA)
    assert value.item() == 0
    assert torch.autograd.grad(value, Z)[0].abs().max() == 0


def test_near_positives_lower_the_loss():
    families = torch.zeros(4, dtype=torch.long)
    spectra = torch.tensor([[0.0], [0.01], [1.0], [1.01]])
    paired = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert spectral_supcon(paired, families, spectra) < 0.1 < spectral_supcon(paired[[0, 2, 1, 3]], families, spectra)
