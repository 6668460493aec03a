"""Zero-cost proxies of one network by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from cgir.limits import DEFAULT, Limits
from encoders.engine.devices import Device
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for

from .activations import naswot, swap
from .costs import flops, params
from .gradients import fisher, grad_norm, grasp, snip
from .isolation import isolated
from .jacobian import jacob_cov
from .meco import meco
from .probe import Loss, MissingLayerError, Probe, in_one_line
from .synflow import synflow
from .zen import zen
from .zico import zico

PROXIES: dict[str, Callable[[Probe], float | None]] = {
    "params": params,
    "flops": flops,
    "grad_norm": grad_norm,
    "snip": snip,
    "grasp": grasp,
    "fisher": fisher,
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "naswot": naswot,
    "swap": swap,
    "zico": zico,
    "meco": meco,
    "zen": zen,
}
NAMES = tuple(PROXIES)
ANY_NETWORK = ("params", "flops", "grad_norm", "snip", "grasp", "zico", "synflow", "jacob_cov")  # need no certain layer


@in_plain_surroundings(grad=True)
def score(
    module: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    targets: Any = None,
    *,
    names: Iterable[str] = ("naswot", "synflow"),
    loss: Loss = cross_entropy,
    seed: int = 0,
    device: Device = "auto",
    limits: Limits = DEFAULT,
) -> dict[str, float | None]:
    """Scores of an untrained network on one batch; None where a score is undefined, as without a path to the output.

    Passes through the network are shared, so several names in one call cost less than one after the other. The module
    is copied, and left as it is; its copy is in float32 and training mode, all of its parameters ask for a gradient,
    and it has no hooks but those of `torch.nn.utils`. The output depends on what gradients reach from it: nothing that
    is cut off by `detach` counts.

    Args:
        module: the network.
        inputs: (B, ...), or a tuple where it takes several.
        targets: (B,), what the loss compares outputs with; proxies that read no loss do without.
        names: of `NAMES`.
        loss: of outputs and targets, a scalar.
        seed: of every random number that the network or a proxy draws.
        device: where to compute; "auto" is CUDA where there is one, otherwise the CPU.
        limits: what tracing the network may take, of which FLOPs are read.

    Raises:
        CgirError: a name is unknown, the network lacks what a proxy is defined on, or refuses the batch.
    """
    if not isinstance(names, Iterable):
        raise CgirError(f"score: names are a {type(names).__name__}; give a list of names")
    wanted = (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        if name not in PROXIES:
            raise CgirError(f"score: no proxy {name!r}; there are {', '.join(NAMES)}")
    probe = Probe(module, inputs, targets, loss=loss, seed=seed, device=device, limits=limits)
    return {name: _one(name, probe) for name in wanted}


def _one(name: str, probe: Probe) -> float | None:
    try:
        with isolated(probe.seed, probe.device), threads_for(probe.numbers), in_one_line(name, probe.name):
            value = PROXIES[name](probe)
    except MissingLayerError as error:
        rest = ", ".join(other for other in ANY_NETWORK if other != name)
        raise CgirError(f"score: {name} needs {error}; {probe.name} has none, use one of {rest}") from None
    return value if value is not None and math.isfinite(value) else None
