"""What selection rules return, and the images that those which compare accuracies evaluate on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from cgir.typing import FloatArray

from .bilevel import Batch
from .choices import Choice, Picks
from .images import Images
from .network import Supernet


class Ranking(NamedTuple):
    """A rule's result.

    Attributes:
        scores: for each choice (options,); higher is better.
        picks: for each choice its chosen options, ascending.
    """

    scores: tuple[FloatArray, ...]
    picks: Picks


# (trained, images, *, seed, exclude, progress, own options) -> Ranking
Rule = Callable[..., Ranking]


class Evaluation(NamedTuple):
    """Of a supernet at a mixture: share of right answers, and mean cross entropy in nats."""

    accuracy: float
    loss: float


def ranked(choices: Sequence[Choice], scores: Sequence[FloatArray], exclude: Collection[str]) -> Ranking:
    """The options of the highest scores in every choice.

    Args:
        choices: of a supernet.
        scores: for each choice (options,).
        exclude: names of options that are not chosen.

    Raises:
        CgirError: too few options are left, or a score is NaN.
    """
    picks = (choice.best(values, exclude) for choice, values in zip(choices, scores, strict=True))
    return Ranking(tuple(scores), tuple(picks))


def draw_batches(supernet: Supernet, images: Images, *, count: int, batch: int, seed: int) -> list[Batch]:
    """`count` different random images, or all where there are fewer, as they are, in batches of about equal size.

    Args:
        supernet: to whose device and type pixels are brought.
        images: to draw from.
        count: of images.
        batch: largest number of images in a batch, or one more where else one were alone; BatchNorm sees one batch at a
            time, so results depend on it.
        seed: of the draw.

    Raises:
        CgirError: fewer than 2 images in a batch.
    """
    # the batch first: the count of some rules is computed from it
    for name, value in (("batch", batch), ("count", count), (images.name, len(images))):
        if type(value) is not int or value < 2:
            raise CgirError(f"one_shot: {name}={value!r}; expected 2 images or more, for BatchNorm")
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    like = next(supernet.parameters())
    number = min(-(-len(rows) // batch), len(rows) // 2)
    parts = (images.select(part) for part in torch.tensor_split(rows, number))
    return [(part.pixels.to(like), part.labels.to(like.device)) for part in parts]


def evaluate(supernet: Supernet, mixture: Tensor, batches: Sequence[Batch]) -> Evaluation:
    """Accuracy and loss over all images of the batches, without gradients.

    Args:
        supernet: with its present weights.
        mixture: (A,).
        batches: images and labels.

    Raises:
        CgirError: an answer is not finite.
    """
    right, loss, count = 0, 0.0, 0
    with torch.no_grad():
        for pixels, labels in batches:
            answers = supernet(pixels, mixture)
            right += int((answers.argmax(1) == labels).sum())
            loss += float(cross_entropy(answers, labels, reduction="sum"))
            count += len(labels)
    if not isfinite(loss):
        raise CgirError("one_shot: the supernet's answers are not finite; train it again with a lower lr")
    return Evaluation(right / count, loss / count)
