"""Jacobian covariance: how differently a network's output reacts to each image of a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cgir.errors import CgirError

from .probe import Probe

SHIFT = 1e-5  # the authors' k


def jacob_cov(probe: Probe) -> float | None:
    """-sum over eigenvalues v of the correlation of Jacobians of log(v + k) + 1 / (v + k), k = 1e-5.

    Mellor et al. 2020, "Neural architecture search without training", first version
    (https://arxiv.org/abs/2006.04647v1, section 3). Row i of the correlated matrix is the gradient of the sum of all
    outputs in image i, with BatchNorm over the batch as in the authors' code. None where a row is constant, as without
    a path from input to output, as it then correlates with nothing, or where the output is NaN.

    Raises:
        CgirError: the batch has one image, no input is of floating point, or the output is not a tensor.
    """
    count = len(probe.inputs[0])
    if count < 2:
        raise CgirError("score: jacob_cov compares images, and the batch has one; give two or more")
    images = [x for x in probe.forward_pass.inputs if x.is_floating_point() and probe.has_batch(x)]
    if not images:
        raise CgirError("score: jacob_cov differentiates in the inputs, and these are integers; leave jacob_cov out")
    if not probe.output.requires_grad or bool(probe.output.isnan().any()):
        return None
    found = torch.autograd.grad(probe.output.sum(), images, retain_graph=True, allow_unused=True)
    rows = [g.reshape(count, -1).double() for g in found if g is not None]
    return _spread(torch.cat(rows, 1)) if rows else None


def _spread(rows: Tensor) -> float | None:
    centred = rows - rows.mean(1, keepdim=True)
    norms = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    constant = norms <= torch.finfo(torch.float32).eps * torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if bool(constant.any()) or not bool(norms.isfinite().all()):
        return None
    unit = centred / norms
    try:
        values = np.linalg.eigvalsh((unit @ unit.T).cpu().numpy()) + SHIFT
    except np.linalg.LinAlgError:
        return None
    return -float((np.log(values) + 1 / values).sum())
