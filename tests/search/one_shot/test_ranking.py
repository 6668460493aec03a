"""The images that rules evaluate on, and the evaluation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from one_shot_samples import digits, tiny, trained_like
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from search.one_shot import Images, select
from search.one_shot.ranking import draw_batches, evaluate, ranked


def numbered(count: int, augment: bool = False) -> Images:
    """Images whose pixels tell which they are."""
    pixels = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    return Images(pixels, torch.arange(count) % 10, 10, augment=augment)


@pytest.mark.parametrize(
    ("count", "batch", "sizes"),
    [(20, 20, [20]), (20, 7, [7, 7, 6]), (21, 20, [11, 10]), (1000, 16, [13, 13, 12, 12])],
    ids=["one", "three", "no-batch-of-one", "all-there-are"],
)
def test_batches_are_different_images_as_they_are(count: int, batch: int, sizes: list[int]) -> None:
    found = draw_batches(tiny(), numbered(50, augment=True), count=count, batch=batch, seed=1)
    assert [len(labels) for _, labels in found] == sizes
    pixels, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert torch.equal(pixels, pixels[:, :1, :1, :1].expand_as(pixels))  # neither shifted nor padded
    rows = pixels[:, 0, 0, 0].long()
    assert len(set(rows.tolist())) == len(rows) == min(count, 50)
    assert torch.equal(labels, rows % 10)
    again = draw_batches(tiny(), numbered(50), count=count, batch=batch, seed=1)
    other = draw_batches(tiny(), numbered(50), count=count, batch=batch, seed=2)
    assert torch.equal(again[0][0], found[0][0])
    assert not torch.equal(other[0][0], found[0][0])


def test_pixels_have_the_type_of_the_supernet() -> None:
    ((pixels, _),) = draw_batches(tiny().double(), numbered(4), count=4, batch=4, seed=0)
    assert pixels.dtype == torch.float64


def test_one_image_is_too_few() -> None:
    with pytest.raises(CgirError, match="images=1; expected 2 images or more"):
        draw_batches(tiny(), numbered(1), count=4, batch=4, seed=0)


def test_evaluation_is_that_of_all_images_each_in_its_batch() -> None:
    trained = trained_like(tiny())
    batches = draw_batches(trained.supernet, digits(50), count=50, batch=20, seed=0)
    with torch.no_grad():
        answers = torch.cat([trained.supernet(pixels, trained.mixture) for pixels, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    found = evaluate(trained.supernet, trained.mixture, batches)
    assert found.accuracy == pytest.approx(float((answers.argmax(1) == labels).double().mean()))
    assert found.loss == pytest.approx(float(cross_entropy(answers.double(), labels)), rel=1e-6)


def test_order_of_images_in_a_batch_is_nothing() -> None:
    trained = trained_like(tiny().double())
    ((pixels, labels),) = draw_batches(trained.supernet, digits(50), count=50, batch=50, seed=0)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    mixture = trained.mixture.double()
    a = evaluate(trained.supernet, mixture, [(pixels, labels)])
    b = evaluate(trained.supernet, mixture, [(pixels[order], labels[order])])
    assert a.loss == pytest.approx(b.loss, rel=1e-12)
    assert a.accuracy == b.accuracy


def test_a_supernet_that_has_diverged_is_not_ranked() -> None:
    trained = trained_like(tiny())
    torch.nn.init.constant_(trained.supernet.get_parameter("classifier.weight"), math.nan)
    with pytest.raises(CgirError, match="answers are not finite"):
        select(trained, digits(), "perturbation", device="cpu", progress=False)
    trained.logits[:] = math.nan
    with pytest.raises(CgirError, match="edge 1<-0: the score of none is not a number"):
        select(trained, digits(), device="cpu")


def test_ranked_keeps_the_scores_and_picks_the_highest() -> None:
    choices = tiny("nasbench1shot1").choices
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=len(choice.options)) for choice in choices]
    found = ranked(choices, scores, ())
    for choice, values, kept, picks in zip(choices, scores, found.scores, found.picks, strict=True):
        assert kept is values
        assert set(picks) == set(np.argsort(values)[-choice.num_chosen :].tolist())
        assert list(picks) == sorted(picks)
