"""Selection by accuracies of an untrained supernet ("Causal Zero-Shot Neural Architecture Search").

The accuracy of a supernet with one option alone in a choice is *observed* (eq. 4 there). The *intervention* replaces
it, with probability p, by a draw from a Gaussian whose mean and deviation are those of accuracies of a trained supernet
(eq. 8). What is selected has the highest intervened accuracy (eq. 10, algorithm 1), or the highest Shapley value in the
game of intervened accuracies (eq. 11).

With p = 1 and one Gaussian for all options the selection is uniformly random. With a Gaussian for each operation it is
Thompson sampling from what a trained supernet says of the operation, whatever the untrained supernet says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from math import sqrt
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.engine.devices import Device
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for
from search.seeds import check_seed
from search.zero_cost.isolation import isolated

from .bilevel import Batch
from .causal_statistics import PRIORS, Gaussian, Statistics, one_shot_statistics, priors
from .choices import Choice
from .images import Images
from .network import Supernet
from .ranking import draw_batches, evaluate, ranked
from .selection import Selected, check_options, checked_exclude, on_device, selected
from .shapley import shapley_values
from .trained import Trained, check_images, untrained

INPUTS = ("real", "gaussian")
WEIGHTS = (None, "gaussian", "uniform", "constant")


@dataclass(frozen=True)
class _Settings:
    """Arguments of `causal`."""

    p: float
    prior: str
    game: bool
    inputs: str
    weights: str | None
    repeats: int
    count: int
    batch: int
    seed: int


@in_plain_surroundings(grad=True)
def causal(
    supernet: Supernet,
    images: Images,
    *,
    p: float = 1.0,
    prior: str = "operation",
    statistics: Statistics | None = None,
    game: bool = False,
    inputs: str = "real",
    weights: str | None = None,
    repeats: int = 1,
    count: int = 1024,
    batch: int = 256,
    seed: int = 0,
    exclude: Collection[str] = (),
    progress: bool = True,
    device: Device = "auto",
) -> Selected:
    """Select from an untrained supernet with equal weights of its operations (algorithm 1); it stays as it is.

    Scores are means over the repeats; of options with equal scores the chosen is random. Accuracies that the
    intervention replaces are not computed.

    Args:
        supernet: the untrained supernet.
        images: validation images.
        p: probability of the intervention, for each accuracy by itself; 0 is the observed accuracy.
        prior: "operation", a Gaussian for each name of an option, or "global", one for all. In the game a coalition's
            accuracy is the mean of independent ones of its members (corollary 2.1); nobody's is always observed.
        statistics: of the prior, from `one_shot_statistics` of a trained supernet; None takes them of this one.
        game: score by exact Shapley values, from the accuracies of all 2^M subsets of a choice's options.
        inputs: "real" images, or "gaussian" noise of the same shape in their place, under the same labels.
        weights: initialise kernels and matrices anew in every repeat (section 3.5): "gaussian" of the deviation
            sqrt(2 / fan-in), "uniform" of the same deviation, "constant" of that value, biases 0; None: as they are.
        repeats: of everything that is random; algorithm 1 has one, and with many a prior decides without chance.
        count: of images in a repeat, or all where there are fewer.
        batch: of them at a time; BatchNorm sees one batch, so accuracies depend on it.
        seed: of images, interventions, weights and ties.
        exclude: names of options that are not chosen, as ("none",).
        progress: show a progress bar.
        device: "auto", "cpu" or "cuda".

    Raises:
        CgirError: an option out of range, images that do not fit, or statistics of another space.
    """
    given = {"p": p, "game": game, "repeats": repeats, "count": count, "batch": batch}
    check_options("causal", causal, given)
    settings = _Settings(p, prior, game, inputs, weights, repeats, count, batch, seed)
    _check(settings)
    check_seed("causal", seed)
    check_images(supernet, images)
    excluded = checked_exclude(supernet, exclude)
    start = perf_counter()
    trained = on_device(untrained(supernet), device)
    if p > 0 and statistics is None:
        statistics = one_shot_statistics(
            trained, images, count=count, batch=batch, seed=seed, progress=progress, device=device
        )
    gaussians = None if statistics is None else priors(supernet, prior, statistics)
    with isolated(seed, trained.logits.device), threads_for(supernet.numbers(batch)):
        scores = _mean_scores(trained, images, settings, gaussians, progress)
    rng = np.random.default_rng((seed, repeats))
    ranking = ranked(supernet.choices, [_without_ties(values, rng) for values in scores], excluded)
    ranking = ranking._replace(scores=scores)
    options = asdict(settings) | {"exclude": excluded}
    return selected(supernet, "causal", ranking, perf_counter() - start, options)


def _mean_scores(
    trained: Trained,
    images: Images,
    settings: _Settings,
    gaussians: Mapping[str, Gaussian] | None,
    progress: bool,
) -> tuple[FloatArray, ...]:
    choices, repeats = trained.supernet.choices, settings.repeats
    totals = [np.zeros(len(choice.options)) for choice in choices]
    with tqdm(total=repeats * len(choices), desc="causal", unit="choice", disable=not progress) as bar:
        for repeat in range(repeats):
            accuracies = _accuracies(
                trained, images, settings, gaussians, np.random.default_rng((settings.seed, repeat))
            )
            for choice, total in zip(choices, totals, strict=True):
                total += accuracies.shapley(choice) if settings.game else accuracies.of_each(choice)
                bar.update()
    return tuple(total / repeats for total in totals)


def _accuracies(
    trained: Trained,
    images: Images,
    settings: _Settings,
    gaussians: Mapping[str, Gaussian] | None,
    rng: np.random.Generator,
) -> _Accuracies:
    """Those of one repeat, on its own images and, where they are drawn, weights."""
    seed, network = int(rng.integers(2**62)), trained.supernet
    batches = draw_batches(network, images, count=settings.count, batch=settings.batch, seed=seed)
    if settings.inputs == "gaussian":
        batches = [(_noise_like(pixels, rng), labels) for pixels, labels in batches]
    if settings.weights is not None:
        network = _initialised(network, settings.weights, rng)
    return _Accuracies(network, trained.mixture, batches, settings.p, gaussians, rng)


class _Accuracies(NamedTuple):
    """Intervened accuracies of subsets of a choice's options."""

    network: Supernet
    mixture: Tensor
    batches: Sequence[Batch]
    p: float
    gaussians: Mapping[str, Gaussian] | None
    rng: np.random.Generator

    def of_each(self, choice: Choice) -> FloatArray:
        """Of each option alone: (options,)."""
        return np.array([self._of(choice, [option]) for option in range(len(choice.options))])

    def shapley(self, choice: Choice) -> FloatArray:
        """Of each option its Shapley value: (options,)."""
        players = range(len(choice.options))
        return shapley_values(
            np.array([self._of(choice, [o for o in players if subset >> o & 1]) for subset in range(2 ** len(players))])
        )

    def _of(self, choice: Choice, members: Sequence[int]) -> float:
        coin, normal = self.rng.random(), self.rng.standard_normal()  # always both, so that p changes no other draw
        if self.gaussians is not None and members and coin < self.p:
            found = [self.gaussians[choice.options[option]] for option in members]
            mean = sum(one.mean for one in found) / len(found)
            return mean + sqrt(sum(one.deviation**2 for one in found)) / len(found) * float(normal)
        mixture = self.mixture
        for option in set(range(len(choice.options))) - set(members):
            mixture = choice.without(mixture, option)
        return evaluate(self.network, mixture, self.batches).accuracy


def _check(settings: _Settings) -> None:
    if not 0 <= settings.p <= 1:
        raise CgirError(f"causal: p={settings.p!r}; expected a probability from 0 to 1")
    for name, known in (("prior", PRIORS), ("inputs", INPUTS), ("weights", WEIGHTS)):
        if (value := getattr(settings, name)) not in known:
            raise CgirError(f"causal: {name}={value!r}; expected one of {', '.join(map(repr, known))}")
    if settings.repeats < 1:
        raise CgirError(f"causal: repeats={settings.repeats!r}; expected a positive whole number")


def _initialised(supernet: Supernet, weights: str, rng: np.random.Generator) -> Supernet:
    """A copy whose kernels, matrices and biases are new; BatchNorm's weights are not."""
    result = deepcopy(supernet)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    for module in result.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            shape, scale = module.weight.shape, sqrt(2 / module.weight[0].numel())
            if weights == "gaussian":
                values = scale * torch.randn(shape, generator=generator)
            elif weights == "uniform":
                values = scale * sqrt(3) * (2 * torch.rand(shape, generator=generator) - 1)
            else:
                values = torch.full(shape, scale)
            with torch.no_grad():
                module.weight.copy_(values)
                if module.bias is not None:
                    module.bias.zero_()
    return result


def _noise_like(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(pixels.shape))).to(pixels)


def _without_ties(scores: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Ranks of the scores, equal ones in random order."""
    ranks = np.empty(len(scores))
    ranks[np.lexsort((rng.random(len(scores)), scores))] = np.arange(len(scores))
    return ranks
