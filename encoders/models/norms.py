"""Layer and batch normalisation of node states, where each row may represent several equal nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from cgir.errors import CgirError


class LayerNorm(nn.LayerNorm):
    """Layer normalisation, every row by itself (Ba et al. 2016, https://arxiv.org/abs/1607.06450)."""

    def forward(self, input: Tensor, multiplicity: Tensor | None = None) -> Tensor:
        """(C, F) -> (C, F); `multiplicity` has no effect."""
        return torch.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over all nodes of a batch: each row is weighted by the number of nodes that it represents.

    Equal to `torch.nn.BatchNorm1d` on the rows repeated, running statistics and gradients included (Ioffe & Szegedy
    2015, https://arxiv.org/abs/1502.03167, alg. 1).
    """

    def forward(self, input: Tensor, multiplicity: Tensor | None = None) -> Tensor:
        """Rows (C, F), each for `multiplicity` (C,) nodes, None: for one -> (C, F).

        Raises:
            CgirError: a single node in training, which has no variance.
        """
        if not self.training:
            return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        weight = torch.ones_like(x[:, 0], dtype=torch.float64) if multiplicity is None else multiplicity.double()
        num_nodes = weight.sum()
        if num_nodes < 2:
            raise CgirError(
                "batch normalisation: a batch of a single node has no variance; "
                "train with larger graphs or batches, or norm='layer'"
            )
        share = (weight / num_nodes).unsqueeze(0)  # sums in double precision, as in PyTorch on a CPU
        mean = (share @ x.double())[0].to(x.dtype)
        centred = x - mean
        variance = (share @ centred.double().square())[0].to(x.dtype)
        self._update_running_statistics(mean.detach(), variance.detach() * num_nodes / (num_nodes - 1))
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


NORMS: dict[str, type[LayerNorm | BatchNorm]] = {"layer": LayerNorm, "batch": BatchNorm}
