"""All operators that are written as operators of ONNX's default domain, by domain."""

from __future__ import annotations

from collections.abc import Mapping

from . import quantized_expanders
from .attention_expanders import ATTENTION
from .blocked_layout_expanders import BLOCKED
from .elementary_expanders import ELEMENTARY
from .expansion import Expander
from .expert_expanders import EXPERTS
from .fused_expanders import FUSED
from .ml_expanders import ML
from .position_expanders import POSITIONS, standard_rotary_embedding

EXPANDERS: Mapping[str, Mapping[str, Expander]] = {
    "": {**quantized_expanders.STANDARD, "RotaryEmbedding": standard_rotary_embedding},
    "com.microsoft": {**FUSED, **ELEMENTARY, **ATTENTION, **POSITIONS, **EXPERTS, **quantized_expanders.QUANTIZED},
    "com.microsoft.nchwc": BLOCKED,
    "ai.onnx.ml": ML,
}
