"""torch_geometric: layers and models on one graph whose edges are a buffer, as deployed on a fixed graph; no batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .torch_costs import COLUMNS, CPU, Outcome, checked, vector_products

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("torch-geometric",)
EXCEPTIONS: dict[str, str] = {
    "model/GraphUNet": "multiplies sparse matrices that it builds in its forward, of the nodes that it keeps",
    **vector_products("layer/RGCNConv"),
}

NODES, DIM, OUT, EDGES = 10, 16, 8, 30
Geometric = Any  # torch_geometric.nn

_PLAIN = (
    "GCNConv SAGEConv GraphConv GATConv GATv2Conv TransformerConv TAGConv ARMAConv SGConv LEConv MFConv "
    "ResGatedGraphConv SuperGATConv GeneralConv FiLMConv ClusterGCNConv GENConv MixHopConv"
)
# layers of node features and edges: name -> arguments after the two sizes, keywords
_LAYERS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    **{name: ((DIM, OUT), {}) for name in _PLAIN.split()},
    "SSGConv": ((DIM, OUT, 0.1), {}),
    "EGConv": ((DIM, OUT), {"num_heads": 2, "num_bases": 2}),
    "ChebConv": ((DIM, OUT, 3), {}),
    "FeaStConv": ((DIM, OUT, 2), {}),
    "GatedGraphConv": ((DIM, 2), {}),
    "AGNNConv": ((), {}),
    "APPNP": ((3, 0.1), {}),
    "LGConv": ((), {}),
    "SimpleConv": ((), {}),
    "WLConvContinuous": ((), {}),
    "AntiSymmetricConv": ((DIM,), {}),
    "HypergraphConv": ((DIM, OUT), {}),
    "GPSConv": ((DIM, None), {"heads": 2}),
}
_OPTIONS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "SAGEConv max": ("SAGEConv", (DIM, OUT), {"aggr": "max"}),
    "SAGEConv project": ("SAGEConv", (DIM, OUT), {"project": True}),
    "GATConv heads": ("GATConv", (DIM, OUT), {"heads": 4}),
    "GATConv residual": ("GATConv", (DIM, OUT), {"heads": 2, "concat": False, "residual": True}),
    "GATv2Conv heads": ("GATv2Conv", (DIM, OUT), {"heads": 4}),
    "TransformerConv heads": ("TransformerConv", (DIM, OUT), {"heads": 4, "beta": True}),
    "GCNConv no loops": ("GCNConv", (DIM, OUT), {"add_self_loops": False}),
    "GENConv max": ("GENConv", (DIM, OUT), {"aggr": "max"}),
    "GraphConv mean": ("GraphConv", (DIM, OUT), {"aggr": "mean"}),
}
# whole models
_MODELS: dict[str, dict[str, Any]] = {
    **{
        name: {"in_channels": DIM, "hidden_channels": 12, "num_layers": 3, "out_channels": OUT}
        for name in ("GCN", "GraphSAGE", "GIN", "GAT", "EdgeCNN")
    },
    "GraphUNet": {"in_channels": DIM, "hidden_channels": 12, "out_channels": OUT, "depth": 2},
    "LINKX": {"num_nodes": NODES, "in_channels": DIM, "hidden_channels": 12, "out_channels": OUT, "num_layers": 2},
    "PMLP": {"in_channels": DIM, "hidden_channels": 12, "out_channels": OUT, "num_layers": 2},
}
_AGGREGATIONS = (
    "SumAggregation MeanAggregation MaxAggregation MinAggregation MulAggregation VarAggregation StdAggregation "
    "SoftmaxAggregation PowerMeanAggregation MedianAggregation LSTMAggregation GRUAggregation Set2Set "
    "AttentionalAggregation DeepSetsAggregation"
)
_SIZED: dict[str, Callable[[], tuple[Any, ...]]] = {
    "LSTMAggregation": lambda: (DIM, OUT),
    "GRUAggregation": lambda: (DIM, OUT),
    "Set2Set": lambda: (DIM, 2),
    "AttentionalAggregation": lambda: (nn.Linear(DIM, 1), nn.Linear(DIM, OUT)),
    "DeepSetsAggregation": lambda: (nn.Linear(DIM, 12), nn.Linear(12, OUT)),
}
_NORMS = "BatchNorm InstanceNorm LayerNorm GraphNorm GraphSizeNorm PairNorm MeanSubtractionNorm DiffGroupNorm"


def cases() -> list[str]:
    """Layers, layers with other parts, models, aggregations and normalisations."""
    return [
        *(f"layer/{name}" for name in (*_LAYERS, *_OPTIONS, *_BUILT)),
        *(f"model/{name}" for name in (*_MODELS, *_WHOLE)),
        *(f"aggregation/{name}" for name in _AGGREGATIONS.split()),
        *(f"normalisation/{name}" for name in _NORMS.split()),
    ]


def check(case: str) -> Outcome:
    """All columns for one network."""
    return checked(lambda: build(case), batch=None, devices=(CPU,))


class OnGraph(nn.Module):
    """A module of node features on a graph that it keeps: edges, and what else is said of nodes and edges."""

    def __init__(self, module: nn.Module, **kept: Tensor) -> None:
        super().__init__()
        self.module, self.kept = module, tuple(kept)
        for name, tensor in kept.items():
            self.register_buffer(f"kept_{name}", tensor)

    def forward(self, *features: Tensor) -> Any:
        return self.module(*features, **{name: getattr(self, f"kept_{name}") for name in self.kept})


def edges() -> Tensor:
    """A ring with chords, every edge in both directions but the last one."""
    source = torch.arange(EDGES) % NODES
    target = (source + 1 + torch.arange(EDGES) // NODES) % NODES
    return torch.stack([source, target])


def _mlp(inner: int = DIM, outer: int = OUT) -> nn.Module:
    return nn.Sequential(nn.Linear(inner, 12), nn.ReLU(), nn.Linear(12, outer))


def _weights(*shape: int) -> Tensor:
    return torch.linspace(0.1, 1, torch.Size(shape).numel()).reshape(shape)


def _degrees() -> Tensor:
    return torch.tensor([0, 0, 2, 5, 3])


_PNA = {"aggregators": ["mean", "min", "max", "std"], "scalers": ["identity", "amplification", "attenuation"]}
# name -> the layer and what it keeps besides the edges
_BUILT: dict[str, Callable[[Geometric], tuple[nn.Module, dict[str, Tensor]]]] = {
    "GINConv": lambda geometric: (geometric.GINConv(_mlp(), train_eps=True), {}),
    "EdgeConv": lambda geometric: (geometric.EdgeConv(_mlp(2 * DIM)), {}),
    "GINEConv": lambda geometric: (geometric.GINEConv(_mlp(), edge_dim=4), {"edge_attr": _weights(EDGES, 4)}),
    "NNConv": lambda geometric: (
        geometric.NNConv(DIM, OUT, _mlp(4, DIM * OUT)),
        {"edge_attr": _weights(EDGES, 4)},
    ),
    "CGConv": lambda geometric: (geometric.CGConv(DIM, dim=4), {"edge_attr": _weights(EDGES, 4)}),
    "GATConv edges": lambda geometric: (geometric.GATConv(DIM, OUT, edge_dim=4), {"edge_attr": _weights(EDGES, 4)}),
    "TransformerConv edges": lambda geometric: (
        geometric.TransformerConv(DIM, OUT, heads=2, edge_dim=4),
        {"edge_attr": _weights(EDGES, 4)},
    ),
    "GMMConv": lambda geometric: (
        geometric.GMMConv(DIM, OUT, dim=4, kernel_size=3),
        {"edge_attr": _weights(EDGES, 4)},
    ),
    "PDNConv": lambda geometric: (
        geometric.PDNConv(DIM, OUT, edge_dim=4, hidden_channels=6),
        {"edge_attr": _weights(EDGES, 4)},
    ),
    "GCNConv weights": lambda geometric: (geometric.GCNConv(DIM, OUT), {"edge_weight": _weights(EDGES)}),
    "PNAConv": lambda geometric: (geometric.PNAConv(DIM, OUT, deg=_degrees(), **_PNA), {}),
    "RGCNConv": lambda geometric: (geometric.RGCNConv(DIM, OUT, 3), {"edge_type": torch.arange(EDGES) % 3}),
    "FastRGCNConv": lambda geometric: (geometric.FastRGCNConv(DIM, OUT, 3), {"edge_type": torch.arange(EDGES) % 3}),
    "RGATConv": lambda geometric: (geometric.RGATConv(DIM, OUT, 3), {"edge_type": torch.arange(EDGES) % 3}),
    "DirGNNConv": lambda geometric: (geometric.DirGNNConv(geometric.SAGEConv(DIM, OUT)), {}),
    "GCN2Conv": lambda geometric: (geometric.GCN2Conv(DIM, 0.1), {"x_0": _weights(NODES, DIM)}),
    "FAConv": lambda geometric: (geometric.FAConv(DIM), {"x_0": _weights(NODES, DIM)}),
    "PointNetConv": lambda geometric: (
        geometric.PointNetConv(_mlp(DIM + 3)),
        {"pos": _weights(NODES, 3)},
    ),
    "PointTransformerConv": lambda geometric: (
        geometric.PointTransformerConv(DIM, OUT),
        {"pos": _weights(NODES, 3)},
    ),
    "DNAConv": lambda geometric: (geometric.DNAConv(DIM), {}),
}
_WHOLE: dict[str, Callable[[Geometric], tuple[nn.Module, dict[str, Tensor]]]] = {
    "PNA": lambda geometric: (geometric.PNA(DIM, 12, 2, OUT, deg=_degrees(), **_PNA), {}),
    "GAT v2": lambda geometric: (geometric.GAT(DIM, 12, 2, OUT, v2=True, heads=2, jk="cat"), {}),
    "GCN norm": lambda geometric: (geometric.GCN(DIM, 12, 2, OUT, norm="BatchNorm", act="gelu"), {}),
    "GraphSAGE jumping": lambda geometric: (geometric.GraphSAGE(DIM, 12, 3, OUT, jk="lstm"), {}),
    "DeepGCN": lambda geometric: (
        geometric.DeepGCNLayer(geometric.GENConv(DIM, DIM), nn.LayerNorm(DIM), nn.ReLU(), block="res+"),
        {},
    ),
    "AttentiveFP": lambda geometric: (
        geometric.AttentiveFP(DIM, 12, OUT, edge_dim=4, num_layers=2, num_timesteps=2),
        {"edge_attr": _weights(EDGES, 4), "batch": torch.zeros(NODES, dtype=torch.long)},
    ),
    "Polynormer": lambda geometric: (
        geometric.Polynormer(DIM, 12, OUT),
        {"batch": torch.zeros(NODES, dtype=torch.long)},
    ),
    "LightGCN embedding": lambda geometric: (_Embedded(geometric.LightGCN(NODES, DIM, 2)), {}),
}


class _Embedded(nn.Module):
    """Embeddings of all nodes, added to features."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, edge_index: Tensor) -> Tensor:
        embedded: Tensor = self.model.get_embedding(edge_index)
        return features + embedded


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network with random weights on its graph, and features of the nodes."""
    import torch_geometric.nn

    geometric = torch_geometric.nn
    kind, _, name = case.partition("/")
    features = torch.zeros(NODES, DIM)
    if kind == "aggregation":
        sizes = _SIZED[name]() if name in _SIZED else ()
        return OnGraph(getattr(geometric, name)(*sizes), index=torch.arange(NODES) // 4), (features,)
    if kind == "normalisation":
        sizes = () if name in ("GraphSizeNorm", "PairNorm", "MeanSubtractionNorm") else (DIM,)
        options = {"groups": 2} if name == "DiffGroupNorm" else {}
        return getattr(geometric, name)(*sizes, **options), (features,)
    if name in _BUILT or name in _WHOLE:
        module, kept = (_BUILT | _WHOLE)[name](geometric)
    elif name in _MODELS:
        module, kept = getattr(geometric, name)(**_MODELS[name]), {}
    else:
        layer, arguments, options = _OPTIONS.get(name) or (name, *_LAYERS[name])
        module, kept = getattr(geometric, layer)(*arguments, **options), {}
    if name == "HypergraphConv":
        return OnGraph(module, hyperedge_index=edges()), (features,)
    if name == "DNAConv":
        features = torch.zeros(NODES, 3, DIM)
    return OnGraph(module, edge_index=edges(), **kept), (features,)
