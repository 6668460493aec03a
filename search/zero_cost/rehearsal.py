"""Rehearsal: a few networks of a family are trained for a second each, which tells something of all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import frontends
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.engine.devices import Device
from frontends.spaces import Space
from search.seeds import check_seed

from .isolation import isolated
from .regression import regression_losses
from .small_networks import small_space

log = logging.getLogger(__name__)

WEIGHT = 0.25  # of such a hint, small: no measure says without labels in which families it misleads (RESULTS.md)
Train = Callable[[nn.Module], list[list[float]] | None]  # the losses of each step, of each size of map


class Trained(NamedTuple):
    """What a short training showed: `losses` (steps,), means over sizes of maps; `graph`, a batch of one."""

    graph: GraphBatch
    losses: FloatArray


@dataclass(frozen=True)
class Rehearsal:
    """What short trainings of n networks showed.

    Attributes:
        outcomes: by the number of the network in the pool, in the order in which they were tried: what was found, or
            why it could not be trained.
        seconds: that it took.
    """

    outcomes: Mapping[int, Trained | str]
    seconds: float

    @property
    def trained(self) -> dict[int, Trained]:
        """The n networks that could be trained, by their numbers."""
        return {number: found for number, found in self.outcomes.items() if isinstance(found, Trained)}

    @property
    def failed(self) -> int:
        """How many others could not."""
        return len(self.outcomes) - len(self.trained)

    @property
    def values(self) -> FloatArray:
        """(n,): minus the mean loss of the last fifth of steps, higher is better."""
        return -final_losses(np.stack([found.losses for found in self.trained.values()]))

    def as_hint(self) -> tuple[GraphBatch, FloatArray, float]:
        """The n graphs, their values and how far to believe them, as an entry of `hints` of `Predictor.fit`."""
        return GraphBatch.concatenate([found.graph for found in self.trained.values()]), self.values, WEIGHT


def final_losses(losses: FloatArray) -> FloatArray:
    """Losses (n, steps) -> (n,): the mean over the last fifth of steps."""
    last = max(losses.shape[1] // 5, 1)
    return np.asarray(losses[:, -last:].mean(1), np.float64)


class Candidate(NamedTuple):
    """A network that may be trained: its number, and what makes its graph and its module."""

    number: int
    graph: Callable[[], Graph]
    module: Callable[[], nn.Module]


def rehearse(
    networks: Space[Any] | Sequence[nn.Module],
    pool: Sequence[Any] | None = None,
    count: int = 20,
    seconds: float | None = 60.0,
    *,
    images: Tensor | None = None,
    steps: int = 20,
    seed: int = 0,
    device: Device = "auto",
    done: Rehearsal | None = None,
) -> Rehearsal:
    """Train some networks of a family for a second each, by dense regression; their losses are a hint without labels.

    Networks of a space are trained small (see `small_space`), modules as they are. Interrupted (Ctrl-C) it returns what
    is there.

    Args:
        networks: a space, whose graphs are those of its own skeleton, or modules, of which copies are trained.
        pool: of a space: specifications to choose from; None: any of the space.
        count: networks to train, chosen at random.
        seconds: after which no further one is begun; None: no limit.
        images: (B, C, H, W), of which 16 are used; None: noise with the spectrum of photographs, for a space.
        steps: of each training.
        seed: of the choice, weights and sinusoids.
        device: see `dense_regression`.
        done: what was found for the same networks and seed before, which is not run again.

    Raises:
        CgirError: modules without images, nothing to train, or no network could be trained.
    """
    check_seed("rehearse", seed)
    if not isinstance(count, int) or count < 1:
        raise CgirError(f"rehearse: count={count!r}; expected 1 network or more")
    if (pool is not None and len(pool) == 0) or (isinstance(networks, Sequence) and not networks):
        raise CgirError("rehearse: no networks to choose from")
    if isinstance(networks, Space):
        specs = _specs(networks, pool, count, seed)
        small, images = small_space(networks, specs[0][1], images, seed)
        chosen = [Candidate(i, partial(networks.graph, spec), partial(small.module, spec)) for i, spec in specs]
    elif images is None or pool is not None or isinstance(networks, nn.Module):
        raise CgirError("rehearse: modules are given as a list, without a pool, and with images (B, C, H, W) for them")
    else:
        picked = np.random.default_rng(seed).permutation(len(networks))[:count].tolist()
        one = images[:1]
        chosen = [Candidate(i, partial(_trace, networks[i], one), partial(networks.__getitem__, i)) for i in picked]
    train = partial(regression_losses, images=images, steps=steps, seed=seed, device=device)
    return _train_all(chosen, train, seconds, seed, done or Rehearsal({}, 0))


def _specs(space: Space[Any], pool: Sequence[Any] | None, count: int, seed: int) -> list[tuple[int, Any]]:
    """Different specs and their numbers, in the order in which they are trained."""
    rng = np.random.default_rng(seed)
    if pool is not None:
        return [(i, pool[i]) for i in rng.permutation(len(pool))[:count].tolist()]
    return list(enumerate(dict.fromkeys(space.sample(rng) for _ in range(count))))


def _trace(module: nn.Module, images: Tensor) -> Graph:
    return frontends.trace(module, images)


def _train_all(
    chosen: Sequence[Candidate], train: Train, seconds: float | None, seed: int, done: Rehearsal
) -> Rehearsal:
    """Train those that are not done, as long as there is time.

    Args:
        chosen: networks, in this order.
        train: a network.
        seconds: after which no further one is begun.
        seed: of weights.
        done: earlier results.

    Raises:
        CgirError: no network was trained.
    """
    start, outcomes = time.perf_counter(), dict(done.outcomes)
    missing = [network for network in chosen if network.number not in outcomes]
    try:
        for network in tqdm(missing, desc="rehearse", unit="network", leave=False, disable=None):
            outcomes[network.number] = _outcome(network, train, seed)
            if seconds is not None and time.perf_counter() - start > seconds:
                log.warning("rehearse: %d of %d networks in %g seconds", len(outcomes), len(chosen), seconds)
                break
    except KeyboardInterrupt:
        log.warning("rehearse: interrupted, %d of %d networks tried", len(outcomes), len(chosen))
    result = Rehearsal(outcomes, done.seconds + time.perf_counter() - start)
    reason = next((found for found in outcomes.values() if isinstance(found, str)), "none was begun")
    if not result.trained:
        raise CgirError(f"rehearse: none of {len(chosen)} networks was trained, {result.failed} failed ({reason})")
    if result.failed:
        log.warning("rehearse: %d of %d networks failed, the first: %s", result.failed, len(outcomes), reason)
    return result


def _outcome(network: Candidate, train: Train, seed: int) -> Trained | str:
    try:
        with isolated(seed, torch.device("cpu")):
            module = network.module()
        losses = train(module)
        if losses is None:
            return "training diverges, or no feature map depends on the image"
        return Trained(GraphBatch.of(network.graph()), np.mean(losses, axis=1))
    except CgirError as error:
        return str(error)
