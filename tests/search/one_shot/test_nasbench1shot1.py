"""NAS-Bench-1Shot1's supernets against cells of the space."""

import pytest
import torch
from one_shot_naive import decided, per_edge, random_picks
from one_shot_samples import tiny
from torch import nn

from frontends.spaces.nasbench101.cell import OPS, Cell, prune
from frontends.spaces.nasbench101.one_shot import NUM_PARENTS
from frontends.spaces.nasbench101.torch_network import NasBench101Cell
from search.one_shot.nasbench1shot1 import VertexCell

SUBSPACES = list(NUM_PARENTS)


def cell_of(plain: nn.Module, spec: Cell, in_channels: int, width: int) -> NasBench101Cell:
    """The space's own cell with the weights of the supernet's first, as wide as all vertices that feed its output."""
    last = len(spec.matrix) - 1
    feeders = [vertex for vertex in range(1, last) if spec.matrix[vertex][last]]
    cell = NasBench101Cell(spec, in_channels, width * len(feeders)).double()
    for vertex, op in enumerate(spec.ops, 1):
        weights = plain.vertices[vertex - 1].layers[OPS[op]].state_dict()
        cell.operations[vertex - 1].load_state_dict(weights, strict=False)
    for name, projection in cell.projections.items():
        weight = plain.projections[int(name) - 1][0].weight.detach()
        if int(name) == last:
            weight = torch.cat([weight[width * (vertex - 1) :][:width] for vertex in feeders])
        with torch.no_grad():
            projection[0].weight.copy_(weight)
    return cell


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_decided_cell_is_the_cell_of_the_space(subspace: int) -> None:
    ours = tiny("nasbench1shot1", subspace=subspace).double()
    cell, plain, compared = ours.layers[0], per_edge(ours).layers[0], 0
    assert isinstance(cell, VertexCell)
    for seed in range(150):
        picks = random_picks(ours, seed)
        spec, mixture = ours.spec(picks), decided(ours, picks)
        if prune(spec) != spec or not any(spec.matrix[vertex][-1] for vertex in range(1, len(spec.matrix) - 1)):
            continue  # vertices that lead nowhere are computed here, and the space removes them
        x = torch.randn(5, 4, 8, 8, dtype=torch.float64)
        groups = torch.split(mixture, list(ours.groups))
        parents = [groups[ours.deciding[v]] if v in ours.deciding else None for v in range(1, len(spec.matrix))]
        answer = cell(x, groups[: ours.num_vertices], parents).split(4, 1)
        feeding = [answer[v - 1] for v in range(1, len(spec.matrix) - 1) if spec.matrix[v][-1]]
        expected = cell_of(plain, spec, 4, 4)(x)
        torch.testing.assert_close(torch.cat(feeding, 1), expected, rtol=1e-10, atol=1e-10)
        compared += 1
        if compared == 8:
            return
    raise AssertionError(f"only {compared} cells without loose ends")


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_every_pick_is_a_cell_whose_input_and_output_are_connected(subspace: int) -> None:
    ours = tiny("nasbench1shot1", subspace=subspace)
    for seed in range(300):
        spec = ours.spec(random_picks(ours, seed))
        assert ours.space.parse(ours.space.format(spec)) == spec
        prune(spec)  # raises where nothing connects input and output


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_choices_and_groups(subspace: int) -> None:
    ours = tiny("nasbench1shot1", subspace=subspace)
    count = len(NUM_PARENTS[subspace]) - 2
    first = {1: 3, 2: 2, 3: 2}[subspace]  # the first vertex that does not read all before it
    assert ours.groups == (3,) * count + tuple(range(first, count + 2))
    names = ["vertex " + str(v) for v in range(first, count + 1)] + ["output"]
    assert [choice.name for choice in ours.choices[count:]] == [f"parents of {name}" for name in names]
    assert [choice.num_chosen for choice in ours.choices[count:]] == list(NUM_PARENTS[subspace][first:])
    assert all(choice.of_inputs for choice in ours.choices[count:])
    assert [e for choice in ours.choices for (e,) in choice.entries] == list(range(ours.num_weights))


def test_picks_of_a_published_kind_of_cell() -> None:
    ours = tiny("nasbench1shot1", subspace=1)
    picks = ((0,), (2,), (1,), (0,), (0, 2), (1, 3), (3, 4))
    spec = ours.spec(picks)
    assert spec.ops == (0, 2, 1, 0)
    assert [[p for p in range(6) if spec.matrix[p][v]] for v in range(1, 6)] == [[0], [0, 1], [0, 2], [1, 3], [3, 4]]
    loose = ours.spec(((0,), (0,), (0,), (0,), (0, 1), (0, 1), (0, 1)))
    assert loose.ops == (0, 1, 1, 1)  # vertices 2, 3 and 4 feed nothing


def test_skeleton_of_the_space() -> None:
    ours = tiny("nasbench1shot1", channels=2, stacks=2, cells=2, image=(3, 12, 20), classes=7)
    answers = ours(torch.randn(4, 3, 12, 20), ours.mix(torch.zeros(ours.num_weights)))
    assert answers.shape == (4, 7)
    assert sum(isinstance(layer, VertexCell) for layer in ours.layers) == 4
