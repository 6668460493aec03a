"""Recalibration against statistics of whole batches and against the running supernet; shares of right answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ofa_dynamic import DynamicSupernet
from ofa_samples import WIDTHS, write_imagenet
from PIL import Image
from torch import Tensor, nn

from cgir import CgirError
from examples.papers import ofa_accuracy
from examples.papers.ofa_accuracy import COLUMNS, TOP1, TOP5, accuracy, measurement, recalibrate
from examples.papers.ofa_images import batches, read_image, validation_crop
from examples.papers.ofa_supernet import layers, read_supernet, subnet
from frontends.spaces.mbconv.ofa_mbv3 import Spec

SPECS = (
    Spec((7, 3, 5, 3) * 5, (3, 6, 4, 3) * 5, (2, 3, 4, 2, 3), 128),
    Spec((3, 5, 7, 7) * 5, (6, 4, 3, 4) * 5, (4, 2, 2, 3, 2), 132),
)


def pictures(*sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(size, 3, 40, 36, generator=generator) for size in sizes]


def test_one_batch_gives_the_mean_and_variance_of_all_its_images() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    [images] = pictures(6)
    x = images
    recalibrate(network, [images])
    for conv, norm in ((network[0], network[1]), (network[3], network[4])):
        values = conv(x).detach().numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(conv.out_channels, -1)
        np.testing.assert_allclose(norm.running_mean, values.mean(1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(norm.running_var, values.var(1), rtol=1e-5)
        normalized = (conv(x) - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
        x = normalized.relu()
    assert not network.training
    assert not any(layer._forward_pre_hooks for layer in network.modules())


@pytest.mark.parametrize("spec", SPECS, ids=["a", "b"])
def test_batches_count_by_their_images_as_in_the_running_supernet(tmp_path: Path, spec: Spec) -> None:
    dynamic = DynamicSupernet(WIDTHS, 5, 2)
    torch.save(dynamic.state_dict(), tmp_path / "supernet")
    network = subnet(spec, read_supernet(tmp_path / "supernet"))
    parts = pictures(5, 3, 1)
    recalibrate(network, parts)
    dynamic.collected = {}
    for part in parts:
        dynamic(part, spec.ks, spec.e, spec.d)
    norms = [layer for _, layer in layers(network, spec) if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == len(dynamic.collected) == 1 + 2 + 3 * sum(spec.d) + 1
    for norm, collected in zip(norms, dynamic.collected.values(), strict=True):
        count = sum(size for size, _, _ in collected)
        mean = sum((size * mean for size, mean, _ in collected), torch.tensor(0.0)) / count
        variance = sum((size * variance for size, _, variance in collected), torch.tensor(0.0)) / count
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-6)


class ByGreen(nn.Module):
    """Ten classes by the green of an image, next to its number the others in order."""

    def forward(self, x: Tensor) -> Tensor:
        green = (x[:, 1].mean((1, 2)) * 0.224 + 0.456) * 255
        return -(green[:, None] - 20 * torch.arange(10.0)).abs()


def test_shares_of_right_answers_are_counted(tmp_path: Path) -> None:
    """Images of green 20 * (label + error): top-1 where there is no error, top-5 where it is at most two."""
    errors = [0, 0, 0, 1, -1, 2, -2, 3, -3, 4, 0]
    labels = torch.tensor([4, 5, 6, 4, 5, 4, 5, 4, 5, 4, 9])
    reads = []
    for index, (label, error) in enumerate(zip(labels.tolist(), errors, strict=True)):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (50, 40), (index, 20 * (label + error), 255 - index)).save(path)
        reads.append(partial(read_image, path, partial(validation_crop, size=32)))
    images = batches(reads, 3, 2, torch.device("cpu"))
    top1, top5 = accuracy(ByGreen().eval(), images, labels)
    assert (top1, top5) == pytest.approx((100 * 4 / 11, 100 * 8 / 11))


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path)


def test_a_network_is_measured_as_its_parts_say(imagenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofa_accuracy, "BATCH", 4)
    measured = measurement(imagenet / "supernet", imagenet, device="cpu", workers=2)
    spec = SPECS[1]
    row = measured(spec)
    assert tuple(row) == COLUMNS
    assert row["n_val_images"] == 10
    assert row["resolution"] == 132
    assert {path.parent.parent.name for path in measured.train} == {"train"}
    assert len(set(measured.train)) == 15
    network = subnet(spec, measured.supernet)
    reads = [partial(ofa_accuracy._training_image, path, 132, index) for index, path in enumerate(measured.train)]
    recalibrate(network, batches(reads, 4, 1, torch.device("cpu")))
    crops = [read_image(path, partial(validation_crop, size=132)) for path, _ in measured.val]
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        order = network((torch.stack(crops) / 255 - mean) / std).argsort(1, descending=True)
    right = order == torch.arange(5).repeat_interleave(2)[:, None]
    assert row[TOP1] == pytest.approx(100 * right[:, 0].float().mean().item())
    assert row[TOP5] == 100.0  # of five classes
    assert measured(spec)[TOP1] == row[TOP1]


def test_statistics_are_taken_on_the_images_that_the_authors_draw(
    imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ofa_accuracy, "STATISTICS_IMAGES", 6)
    measured = measurement(imagenet / "supernet", imagenet, device="cpu")
    generator = torch.Generator()
    generator.manual_seed(937162211)
    files = sorted((imagenet / "train").rglob("*.png"))
    assert list(measured.train) == [files[index] for index in torch.randperm(15, generator=generator).tolist()[:6]]


def test_a_part_of_the_validation_images_is_drawn_from_all_classes(imagenet: Path) -> None:
    whole = measurement(imagenet / "supernet", imagenet, device="cpu")
    part = measurement(imagenet / "supernet", imagenet, images=6, device="cpu")
    assert len(part.val) == 6
    assert set(part.val) < set(whole.val)
    assert len({image.label for image in part.val}) > 3
    assert part.val == measurement(imagenet / "supernet", imagenet, images=6, device="cpu").val
    assert part.settings != whole.settings
    for images in (0, 11):
        with pytest.raises(CgirError, match=f"--images {images}; expected 1 to 10"):
            measurement(imagenet / "supernet", imagenet, images=images, device="cpu")
    with pytest.raises(CgirError, match="--workers 0; expected at least 1"):
        measurement(imagenet / "supernet", imagenet, workers=0, device="cpu")
