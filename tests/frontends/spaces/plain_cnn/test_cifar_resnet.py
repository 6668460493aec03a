"""ResNets for small images: strings, published sizes, and the networks of the table."""

from __future__ import annotations

import pytest
from space_checks import check_traces, rows

import cgir
from frontends import spaces
from frontends.spaces.plain_cnn.cifar_resnet import CifarResNet

BAD = (
    ("n=3;f=16", "2 parts"),
    ("n=19;f=16;k=3", "'19'"),
    ("n=3;f=16;k=4", "'4'"),
    ("f=16;n=3;k=3", "part 0"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=f"^cifar_resnet: .*{complaint}"):
        spaces.get("cifar_resnet").parse(text)


# He et al. 2016, table 6: layers and million parameters, with shortcuts that have none
@pytest.mark.parametrize(
    ("blocks", "layers", "millions"), [(3, 20, 0.27), (5, 32, 0.46), (9, 56, 0.85), (18, 110, 1.7)]
)
def test_published_sizes(blocks: int, layers: int, millions: float) -> None:
    graph = CifarResNet(classes=10).graph(CifarResNet().parse(f"n={blocks};f=16;k=3"))
    convolutions = [node for node in graph.nodes if node.op == "Conv"]
    projections = [node for node in convolutions if dict(node.attrs)["kernel"] == (1, 1)]
    assert len(projections) == 2
    assert len(convolutions) - len(projections) + 1 == layers
    shortcuts = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert round((graph.num_params - shortcuts) / 1e6, 2 if millions < 1 else 1) == millions


def test_the_space_has_every_network_of_the_table() -> None:
    space = spaces.get("cifar_resnet")
    specs = set(space.enumerate())
    for row in rows("more/resnet_tinyimagenet32.csv.gz"):
        spec = space.parse(f"n={row['num_blocks']};f={row['num_filters']};k={row['filter_size']}")
        assert spec in specs
        assert len(space.cell_graph(spec).ops) == 2 + 1 + 3 * spec.blocks  # ends, first convolution, blocks


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("cifar_resnet"), 10, seed=1)
