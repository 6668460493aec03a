"""NAS-Bench-201's supernet (Dong & Yang 2020, the authors' TinyNetworkDarts; DARTS-PT, Wang et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from frontends.spaces.edge_cell import EDGES
from frontends.spaces.nasbench201.space import NasBench201
from frontends.spaces.nasbench201.spec import OPS, Spec
from frontends.spaces.nasbench201.torch_network import ReductionBlock

from .choices import Choice, Picks
from .mixed_cell import AveragePool, MixedCell, OperationMaker, ReluConvNorm, Repeated
from .network import Supernet, batch_norm, by_batch


class NasBench201Supernet(Supernet):
    """All 15,625 cells at once: a mixture of five operations on each of six edges, the same in all cells.

    Args:
        space: the skeleton.
        partial: K of PC-DARTS; 1 is DARTS. Weights of edges are trained but choose nothing: every edge of the space has
            an operation.
        normalize: put BatchNorm behind skips and pooling too, which convolutions have anyway.
    """

    def __init__(self, space: NasBench201, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        self.space = space
        self.has_edge_weights = partial > 1
        edge_groups = (1, 2, 3) if partial > 1 else ()
        self.groups = (len(OPS),) * len(EDGES) + edge_groups
        self.choices = tuple(
            Choice(f"edge {target}<-{source}", OPS, tuple((len(OPS) * k + o,) for o in range(len(OPS))))
            for k, (target, source) in enumerate(EDGES)
        )
        self.stem = nn.Sequential(
            nn.Conv2d(space.image[0], space.channels, 3, padding=1, bias=False), batch_norm(space.channels)
        )
        operations = _operations(normalize)
        self.layers = nn.ModuleList()
        for stage, width in enumerate(space.channels * 2**stage for stage in range(3)):
            if stage:
                self.layers.append(by_batch(ReductionBlock(width // 2, width)))
            self.layers.extend(MixedCell(operations, 1, 3, width, partial=partial) for _ in range(space.cells))
        self.last = nn.Sequential(batch_norm(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(width, space.classes)

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        size = len(EDGES) * len(OPS)
        weights = mixture[:size].view(len(EDGES), len(OPS))
        edge_weights = mixture[size:] if self.has_edge_weights else None
        x = self.stem(x)
        for layer in self.layers:
            x = layer([x], weights, edge_weights)[-1] if isinstance(layer, MixedCell) else layer(x)
        logits: Tensor = self.classifier(self.last(x).flatten(1))
        return logits

    def spec(self, picks: Picks) -> Spec:
        """The operations of the six edges."""
        return tuple(OPS[options[0]] for options in picks)


def _operations(normalize: bool) -> dict[str, OperationMaker]:
    makers: dict[str, OperationMaker] = {
        "none": lambda place: None,
        "skip_connect": lambda place: Repeated(place, None, normalize),
        "nor_conv_1x1": lambda place: ReluConvNorm(place, 1),
        "nor_conv_3x3": lambda place: ReluConvNorm(place, 3),
        "avg_pool_3x3": lambda place: Repeated(place, AveragePool(), normalize),
    }
    return {name: makers[name] for name in OPS}
