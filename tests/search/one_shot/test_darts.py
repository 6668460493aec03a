"""DARTS' supernet against the networks of the space."""

import numpy as np
import pytest
import torch
from one_shot_naive import decided, per_edge, random_picks
from one_shot_samples import tiny
from torch import nn

from frontends.spaces.darts.genotype import Genotype
from frontends.spaces.darts.space import OPS
from search.one_shot import Supernet
from search.one_shot.choices import option_scores

EDGES = [(target, source) for target in range(2, 6) for source in range(target)]


def network_of(ours: Supernet, spec: Genotype) -> nn.Module:
    """`space.module(spec)` with the supernet's weights, and the BatchNorm that the supernet has behind pooling."""
    plain, module = per_edge(ours), ours.space.module(spec).double()
    module.stem.load_state_dict(plain.stem.state_dict(), strict=False)
    module.classifier.load_state_dict(plain.classifier.state_dict())
    for first, second, edges, cell in zip(plain.first, plain.second, plain.cells, module.cells, strict=True):
        cell.preprocess[0].load_state_dict(first.state_dict(), strict=False)
        cell.preprocess[1].load_state_dict(second.state_dict(), strict=False)
        for pair, (op, source) in enumerate(cell.cell):
            layer = edges.edges[EDGES.index((pair // 2 + 2, source))].layers[op]
            if op.endswith("pool_3x3"):
                cell.operations[pair] = layer
            else:
                cell.operations[pair].load_state_dict(layer.state_dict(), strict=False)
    return module


@pytest.mark.parametrize("seed", range(4))
def test_a_decided_mixture_computes_the_network_of_the_genotype(seed: int) -> None:
    ours = tiny("darts", layers=4, seed=seed, image=(1, 8, 8)).double()
    picks = random_picks(ours, seed)
    full = decided(ours, picks)  # operations of weight 1 on the chosen edges, nothing on the others
    assert full.sum() == 16
    assert set(full.tolist()) == {0.0, 1.0}
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x, full), network_of(ours, ours.spec(picks))(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("partial", [1, 4])
def test_every_pick_is_a_genotype_without_none(partial: int) -> None:
    ours = tiny("darts", partial=partial)
    for seed in range(100):
        spec = ours.spec(random_picks(ours, seed))
        assert ours.space.parse(ours.space.format(spec)) == spec
        assert "none" not in str(spec)


def naive_genotype(weights: np.ndarray) -> list[tuple[str, int]]:
    """The authors' `genotype()` of one cell: weights (14, 8)."""
    none, start, gene = OPS.index("none"), 0, []
    for inputs in range(2, 6):
        rows = weights[start : start + inputs]
        best = [max(row[k] for k in range(len(row)) if k != none) for row in rows]
        for source in sorted(sorted(range(inputs), key=lambda s: -best[s])[:2]):
            ops = [k for k in np.argsort(-rows[source]) if k != none]
            gene.append((OPS[ops[0]], source))
        start += inputs
    return gene


@pytest.mark.parametrize("partial", [1, 2])
def test_argmax_is_the_genotype_of_the_authors(partial: int) -> None:
    ours = tiny("darts", partial=partial)
    for seed in range(20):
        logits = torch.randn(ours.num_weights, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        mixture = ours.mix(logits)
        scores = option_scores(ours.choices, ours.magnitudes(mixture).numpy())
        picks = tuple(choice.best(row) for choice, row in zip(ours.choices, scores, strict=True))
        spec, weights = ours.spec(picks), mixture[:224].view(2, 14, 8).numpy()
        if partial > 1:  # PC-DARTS: operations are weighted by the softmax over the edges into their node
            weights = weights * mixture[224:].view(2, 14, 1).numpy()
        assert [[tuple(edge) for edge in cell] for cell in spec] == [naive_genotype(w) for w in weights]


def test_choices_are_28_operations_and_8_pairs_of_edges() -> None:
    ours, pc = tiny("darts"), tiny("darts", partial=2)
    assert [choice.of_inputs for choice in ours.choices] == [False] * 28 + [True] * 8
    assert {choice.num_chosen for choice in ours.choices[28:]} == {2}
    assert ours.choices[28].options == ("2<-0", "2<-1")
    assert ours.choices[29].entries[0] == tuple(range(16, 24))  # all operations of edge 3<-0, the third
    assert pc.choices[29].entries[0] == (226,)
    assert (ours.num_weights, pc.num_weights) == (224, 252)
    assert pc.groups[28:] == (2, 3, 4, 5, 2, 3, 4, 5)
    assert [len(choice.options) for choice in ours.choices[28:]] == [2, 3, 4, 5] * 2


def test_one_cell_is_a_reduction_cell_and_ignores_the_normal_mixture() -> None:
    ours = tiny("darts", layers=1).double()
    mixture = ours.mix(torch.zeros(ours.num_weights, dtype=torch.float64)).requires_grad_()
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(ours(x, mixture).square().sum(), mixture)
    assert not gradient[:112].any()
    assert gradient[112:].any()
