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
# contrastive.objectives: the learned embedding of masked nodes, loss terms
_PRETRAINING: Renames = (
    (r"^model\.parts\.mask\.gap$", "model.terms.mask.mask_token"),
    (r"^model\.parts\.", "model.terms."),
)

# by the kind of the file; predictors of earlier formats are not read
RENAMES: dict[str, Renames] = {"encoder": _MODULES, "pretraining": _MODULES + _PRETRAINING}


def from_format_1(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors of a file of format 1 and the given kind, under the names of format 2."""
    return {_renamed(name, RENAMES.get(kind, ())): tensor for name, tensor in tensors.items()}


def _renamed(name: str, renames: Renames) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name
