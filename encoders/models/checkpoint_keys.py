"""Tensor names of format 1 -> those of format 2.

Format 2 uses the names that are standard in the field. Each row is a regular expression for a part of an old name, and
its replacement; all rows of a table are applied to a name in order, so a row must not match the result of an earlier
one. Names that no row matches are the same in both formats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Renames = tuple[tuple[str, str], ...]

# modules of encoders, which are parts of all files
_MODULES: Renames = (
    (r"(^|\.)along\.", r"\1forward_stream."),
    (r"(^|\.)against\.", r"\1backward_stream."),
    (r"(\blayers\.\d+)\.own\.", r"\1.self_linear."),  # GraphConv, SiblingLayer
    (r"(\blayers\.\d+)\.neighbours\.", r"\1.neighbour_linear."),
    (r"(\blayers\.\d+)\.own$", r"\1.att_dst"),  # GAT
    (r"(\blayers\.\d+)\.heard$", r"\1.att_src"),
    (r"(\blayers\.\d+)\.queries_keys_values\.", r"\1.qkv."),  # SiblingLayer
    (r"(\blayers\.\d+)\.heads\.", r"\1.attention_out."),
    (r"(\blayers\.\d+)\.mixing_norm\.", r"\1.feed_forward_norm."),
    (r"(\blayers\.\d+)\.out\.", r"\1.feed_forward_out."),
)
# encoders.predictors: members of ensembles, Gaussian process, sample of the source families, multi-task process
_PREDICTOR: Renames = (
    (r"^whole\.scale$", "gnn.calibration"),
    (r"^whole\.", "gnn."),
    (r"^(gnn\.)?sources\.", r"\1ensemble.source."),
    (r"^(gnn\.)?members\.", r"\1ensemble.target."),
    (r"(ensemble\.(?:source|target))\.(mean|scale)$", r"\1.scaler.\2"),
    (r"\.moments\.deviation$", ".moments.std"),
    (r"(ensemble\.(?:source|target)\.\d+)\.(?!moments\.)", r"\1.net."),
    (r"^labels\.known$", "gp.labels.values"),
    (r"^labels\.scores$", "gp.labels.scores"),
    (r"^gp\.expected$", "gp.prior_mean_weights"),
    (r"^expected\.", "gp.prior_mean_scaler."),
    (r"^gp\.weights$", "gp.posterior_weights"),
    (r"^gp\.theta$", "gp.log_hyperparameters"),
    (r"^gp\.means$", "gp.prior_means"),
    (r"^gp\.columns$", "gp.subtree_ids"),
    (r"^gp\.(\d+)\.view$", r"gp.views.\1"),
    (r"^gp\.(\d+)\.(mean|scale)$", r"gp.scalers.\1.\2"),
    (r"^labelled\.(\d+)\.view$", r"sample.views.\1"),
    (r"^labelled\.columns$", "sample.subtree_ids"),
    (r"^labelled\.owner$", "sample.family_index"),
    (r"^labelled\.traits$", "sample.size_consistency"),
    (r"^labelled\.", "sample."),
    (r"^across\.(\d+)\.", r"context.multitask.scalers.\1."),
    (r"^across\.scales$", "context.multitask.kernel_scales"),
    (r"^across\.", "context.multitask."),
)
# contrastive.objectives: the learned embedding of masked nodes, loss terms
_PRETRAINING: Renames = (
    (r"^model\.parts\.mask\.gap$", "model.terms.mask.mask_token"),
    (r"^model\.parts\.", "model.terms."),
)

# by the kind of the file
RENAMES: dict[str, Renames] = {
    "encoder": _MODULES,
    "predictor": _MODULES + _PREDICTOR,
    "pretraining": _MODULES + _PRETRAINING,
}


def from_format_1(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors of a file of format 1 and the given kind, under the names of format 2."""
    return {_renamed(name, RENAMES.get(kind, ())): tensor for name, tensor in tensors.items()}


def _renamed(name: str, renames: Renames) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name
