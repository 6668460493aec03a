"""Seeds of everything random."""

from __future__ import annotations

from numbers import Integral

from cgir.errors import CgirError


def check_seed(what: str, seed: object) -> None:
    """CgirError unless PyTorch's, NumPy's and Python's generators take such a seed."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= int(seed) < 2**32:
        raise CgirError(f"{what}: seed={seed!r}; expected a whole number from 0 to 2^32 - 1")
