"""`device=` of everything that runs networks: "auto" is the GPU where there is one."""

from __future__ import annotations

import torch

from cgir.errors import CgirError, one_line


def as_device(device: str) -> torch.device:
    """The device to compute on: "auto", "cpu", "cuda", or a certain GPU as "cuda:1".

    Raises:
        CgirError: no such device, or this machine has none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        if found.type not in ("cpu", "cuda"):
            raise RuntimeError("supported are CPUs and NVIDIA or AMD GPUs")
    except (RuntimeError, TypeError) as error:
        raise CgirError(f"device={device!r} ({one_line(error, 80)}); expected auto, cpu, cuda or cuda:1") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise CgirError(f"device={device!r}: PyTorch finds {torch.cuda.device_count()} GPUs; use device='cpu'")
    return found
