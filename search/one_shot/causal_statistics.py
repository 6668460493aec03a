"""What a trained supernet says of each operation: the prior of `causal_selection`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cgir.errors import CgirError
from encoders.engine.devices import Device
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for
from search.seeds import check_seed
from search.zero_cost.isolation import isolated

from .images import Images
from .network import Supernet
from .ranking import draw_batches, evaluate
from .selection import on_device
from .trained import Trained, check_trained

PRIORS = ("operation", "global")


class Gaussian(NamedTuple):
    """Mean and standard deviation of accuracies, as shares."""

    mean: float
    deviation: float


class Statistics(NamedTuple):
    """Accuracies of a supernet with one option alone in a choice.

    Attributes:
        options: of each option's name, over all choices that have it and all batches.
        overall: of all of them.
    """

    options: Mapping[str, Gaussian]
    overall: Gaussian


@in_plain_surroundings(grad=True)
def one_shot_statistics(
    trained: Trained,
    images: Images,
    *,
    count: int = 1024,
    batch: int = 256,
    seed: int = 0,
    progress: bool = True,
    device: Device = "auto",
) -> Statistics:
    """Mean and deviation of the accuracies of a supernet's options, the "one-shot prior" (section 3.3).

    An accuracy is that of one batch with one option alone in one choice; all other choices stay mixed. The deviation
    is that of the sample, with n - 1, and includes that of batches of this size.

    Args:
        trained: a supernet and its mixture; it stays as it is.
        images: validation images.
        count: of images, or all where there are fewer.
        batch: of them at a time.
        seed: of the draw.
        progress: show a progress bar.
        device: "auto", "cpu" or "cuda".

    Raises:
        CgirError: a seed out of range, images that do not fit, or an option with one accuracy, which has no deviation.
    """
    check_seed("one_shot_statistics", seed)
    check_trained(trained, images)
    own = on_device(trained, device)
    batches = draw_batches(own.supernet, images, count=count, batch=batch, seed=seed)
    samples: dict[str, list[float]] = {}
    with isolated(seed, own.logits.device), threads_for(own.supernet.numbers(batch)):
        for choice in tqdm(own.supernet.choices, desc="one-shot prior", unit="choice", disable=not progress):
            for option, name in enumerate(choice.options):
                mixture = choice.alone(own.mixture, option)
                samples.setdefault(name, []).extend(evaluate(own.supernet, mixture, [one]).accuracy for one in batches)
    for name, values in samples.items():
        if len(values) < 2:
            raise CgirError(
                f"one_shot_statistics: one accuracy of {name!r} has no deviation; "
                f"lower batch={batch}, that the {min(count, len(images))} images make two batches"
            )
    options = {name: _gaussian(values) for name, values in samples.items()}
    return Statistics(options, _gaussian([value for values in samples.values() for value in values]))


def priors(supernet: Supernet, prior: str, statistics: Statistics) -> dict[str, Gaussian]:
    """The Gaussian of every option of the supernet.

    Args:
        supernet: that is selected from.
        prior: "operation" or "global".
        statistics: of another supernet of the space.

    Raises:
        CgirError: an option has no statistics.
    """
    if not isinstance(statistics, Statistics):
        raise CgirError(f"causal: statistics are a {type(statistics).__name__}; one_shot_statistics makes them")
    names = dict.fromkeys(option for choice in supernet.choices for option in choice.options)
    if prior == "global":
        return dict.fromkeys(names, statistics.overall)
    for name in names:
        if name not in statistics.options:
            raise CgirError(
                f"causal: statistics of {', '.join(statistics.options)}, none of {name!r}; "
                f"make them from a supernet of {supernet.space.name}"
            )
    return {name: statistics.options[name] for name in names}


def _gaussian(values: Sequence[float]) -> Gaussian:
    return Gaussian(float(np.mean(values)), float(np.std(values, ddof=1)))
