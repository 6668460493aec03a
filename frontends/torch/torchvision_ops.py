"""Stand-ins for torchvision's C++ operators: their schemas, with shapes where these do not depend on values.

There is no build of torchvision for every build of PyTorch; with these, it and what imports it (timm) can be imported
all the same.
"""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor
from torch import library as torch_library

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, int stride_h, int stride_w, "
    "int pad_h, int pad_w, int dilation_h, int dilation_w, int groups, int offset_groups, bool use_mask) -> Tensor",
)


_DECLARED: list[torch_library.Library] = []  # kept alive, because a library's operators are removed with it


def declare() -> None:
    """Declare, once, the operators of torchvision's wheel, if torchvision is installed without them."""
    if _DECLARED:
        return
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:  # its operators were compiled for another PyTorch
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    else:
        return
    library: Any = torch_library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)
    library.impl("roi_align", _roi_align, "Meta")
    _DECLARED.append(library)


def _roi_align(input: Tensor, rois: Tensor, scale: float, height: int, width: int, ratio: int, aligned: bool) -> Tensor:
    return input.new_empty((rois.shape[0], input.shape[1], height, width))
