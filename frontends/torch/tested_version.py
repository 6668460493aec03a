"""Whether this PyTorch was there when the tracer was tested: it relies on what newer ones may change without a word."""

from __future__ import annotations

import logging
from functools import cache

import torch

TESTED = (2, 13)  # as constraints.txt has it

log = logging.getLogger(__name__)


@cache  # one warning a process
def warn_of_untested() -> None:
    """Log a warning if the minor version of PyTorch is above the tested one."""
    major, minor = torch.__version__.split(".")[:2]
    if (int(major), int(minor)) > TESTED:
        tested = ".".join(map(str, TESTED))
        log.warning(
            "torch %s is newer than %s, with which cgir was tested; compare parameters of graphs with your models', "
            "or install torch==%s.*",
            *(torch.__version__, tested, tested),
        )
