"""NAS-Bench-201's supernet against the networks of the space."""

import numpy as np
import pytest
import torch
from one_shot_naive import decided, per_edge, random_picks
from one_shot_samples import tiny

from frontends.spaces.nasbench201.spec import OPS
from frontends.spaces.nasbench201.torch_network import NasBench201Cell
from search.one_shot import Supernet


def network_of(ours: Supernet, spec: tuple[str, ...]) -> torch.nn.Module:
    """`space.module(spec)` with the supernet's weights."""
    plain, module = per_edge(ours), ours.space.module(spec).double()
    for name in ("stem", "last", "classifier"):
        getattr(module, name).load_state_dict(getattr(plain, name).state_dict(), strict=False)
    for source, target in zip(plain.layers, module.cells, strict=True):
        if not isinstance(target, NasBench201Cell):
            target.load_state_dict(source.state_dict(), strict=False)
            continue
        for edge, (t, s) in enumerate(((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))):
            if spec[edge] not in ("none", "skip_connect", "avg_pool_3x3"):
                weights = source.edges[edge].layers[spec[edge]].state_dict()
                target.edges[f"{t}_{s}"].load_state_dict(weights, strict=False)
    return module


@pytest.mark.parametrize("seed", range(6))
def test_a_decided_mixture_computes_the_network_of_the_specification(seed: int) -> None:
    ours = tiny(seed=seed).double()
    picks = random_picks(ours, seed)
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    expected = network_of(ours, ours.spec(picks))(x)
    torch.testing.assert_close(ours(x, decided(ours, picks)), expected, rtol=1e-10, atol=1e-10)


def test_a_cell_without_a_path_gives_the_same_answer_for_all_images() -> None:
    ours = tiny().double()
    picks = ((OPS.index("none"),),) * 6
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    answers = ours(x, decided(ours, picks))
    torch.testing.assert_close(answers, network_of(ours, ours.spec(picks))(x), rtol=1e-10, atol=1e-10)
    assert torch.equal(answers, answers[:1].expand(6, -1))


def test_every_pick_is_a_specification() -> None:
    ours = tiny()
    for seed in range(200):
        spec = ours.spec(random_picks(ours, seed))
        assert ours.space.parse(ours.space.format(spec)) == spec


def test_choices_follow_the_edges_of_the_strings() -> None:
    ours = tiny()
    assert [choice.name for choice in ours.choices] == [
        f"edge {target}<-{source}" for target in (1, 2, 3) for source in range(target)
    ]
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    picks = tuple((OPS.index(op),) for op in ours.space.parse(text))
    assert ours.space.format(ours.spec(picks)) == text
    entries = [entry for choice in ours.choices for (entry,) in choice.entries]
    assert entries == list(range(30))
    assert tiny(partial=2).groups == (5,) * 6 + (1, 2, 3)


def test_skeleton_of_the_space() -> None:
    ours = tiny(channels=2, cells=2, image=(3, 12, 20), classes=7)
    answers = ours(torch.randn(4, 3, 12, 20), ours.mix(torch.zeros(ours.num_weights)))
    assert answers.shape == (4, 7)
    np.testing.assert_allclose(ours.mix(torch.zeros(30)).numpy(), 0.2, rtol=1e-6)
