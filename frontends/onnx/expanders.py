"""All operators that are written as operators of ONNX's default domain, by domain."""

from __future__ import annotations

from collections.abc import Mapping

from . import quantized_expanders
from .attention_expanders import ATTENTION
from .blocked_layout_expanders import BLOCKED
from .expansion import Expander
from .expert_expanders import EXPERTS
from .fused_expanders import FUSED
from .ml_expanders import ML

EXPANDERS: Mapping[str, Mapping[str, Expander]] = {
    "": quantized_expanders.STANDARD,
    "com.microsoft": {**FUSED, **ATTENTION, **EXPERTS, **quantized_expanders.QUANTIZED},
    "com.microsoft.nchwc": BLOCKED,
    "ai.onnx.ml": ML,
}
