"""Contrastive pretraining in plain PyTorch Geometric: the peer of `contrastive.pretrain` in `benchmarks.encoding`.

The loss is eq. 4.5 of "A General-Purpose Transferable Predictor for Neural Architecture Search", written down once
more: SupCon between the graphs of a family, weighted by the distance of their Laplacian spectra.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from contrastive import PretrainConfig
from encoders.engine.devices import CPU

from .pyg_encoder import PygEncoder, as_data

with warnings.catch_warnings():  # it calls torch.jit.script, which is deprecated
    warnings.simplefilter("ignore")
    from torch_geometric.loader import DataLoader
    from torch_geometric.utils import get_laplacian, to_dense_adj, to_undirected


def spectrum(data: Any, k: int = 11) -> Tensor:
    """(k,) smallest eigenvalues of the normalised Laplacian of the undirected graph, fewer if it has fewer nodes."""
    edges, weights = get_laplacian(
        to_undirected(data.edge_index, num_nodes=data.num_nodes),
        normalization="sym",
        num_nodes=data.num_nodes,
        dtype=torch.double,
    )
    values: Tensor = torch.linalg.eigvalsh(to_dense_adj(edges, edge_attr=weights, max_num_nodes=data.num_nodes)[0])[:k]
    return values


def weighted_supcon(
    z: Tensor, families: Tensor, spectra: Tensor, temperature: float = 0.1, spread: float = 0.05
) -> Tensor:
    """Cross-entropy of similarities against a softmax of negative spectral distances within the family.

    Args:
        z: (B, p) projections of unit length.
        families: (B,) family of each graph.
        spectra: (B, k) of the graphs.
        temperature: of similarities.
        spread: temperature of spectral distances.
    """
    self = torch.eye(len(z), dtype=torch.bool, device=z.device)
    others = (families[:, None] == families) & ~self
    targets = (-torch.cdist(spectra, spectra) / spread).masked_fill(~others, -1e9).softmax(dim=1).to(z.dtype)
    logits = (z @ z.T / temperature).masked_fill(self, -1e9)
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def pretrain(
    batch: GraphBatch,
    families: IntArray,
    spectra: FloatArray,
    config: PretrainConfig,
    path: str,
    device: torch.device = CPU,
) -> tuple[PygEncoder, list[float]]:
    """Train on shuffled batches, families in the proportions of the data; the encoder and the loss of every step.

    Args:
        batch: G graphs.
        families: (G,) family of each graph.
        spectra: (G, k) of the graphs.
        config: hyperparameters.
        path: form of the edges, one of `PATHS`.
        device: to train on.
    """
    fields = [
        {"family": torch.tensor([int(f)]), "spectrum": torch.from_numpy(s)[None]}
        for f, s in zip(families, spectra, strict=True)
    ]
    loader = DataLoader(
        as_data(batch, fields), config.batch, shuffle=True, drop_last=True, pin_memory=device.type == "cuda"
    )
    encoder = PygEncoder(config.encoder.width, config.encoder.layers, path)
    dim = 2 * config.encoder.width
    model = nn.ModuleList([encoder, nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.projection))])
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    losses: list[float] = []
    while len(losses) < config.steps:
        for made in loader:
            data = made.to(device, non_blocking=True)
            loss = weighted_supcon(normalize(model[1](encoder(data))), data.family, data.spectrum, config.temperature)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if len(losses) == config.steps:
                break
    return encoder, losses
