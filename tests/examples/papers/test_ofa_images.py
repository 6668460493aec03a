"""Images of ImageNet's folders: torchvision's transforms and order of files as judges, labels, and damaged files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cgir import CgirError
from examples.papers import ofa_images
from examples.papers.ofa_images import (
    Labelled,
    batches,
    digest,
    image_files,
    labelled_images,
    normalized,
    read_image,
    training_crop,
    validation_crop,
)
from frontends.torch.torchvision_ops import declare

SIZES = ((50, 40), (40, 50), (33, 90), (200, 151), (30, 30), (147, 147), (8, 300))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng((seed, width, height))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def torchvision_transforms() -> Any:
    declare()
    from torchvision import transforms

    return transforms


@pytest.mark.parametrize("size", [32, 128, 132])
def test_validation_images_are_those_of_torchvision(size: int) -> None:
    transforms = torchvision_transforms()
    theirs = transforms.Compose(
        [
            transforms.Resize(int(np.ceil(size / 0.875))),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    for shape in SIZES:
        pixels = torch.from_numpy(np.array(validation_crop(picture(*shape), size))).permute(2, 0, 1)[None]
        torch.testing.assert_close(normalized(pixels)[0], theirs(picture(*shape)), rtol=1e-6, atol=1e-6)


def test_validation_images_are_pillow_operations_written_out() -> None:
    """Of 200 x 151 at 128: the shorter side is 147, the longer 194.7, and the middle begins at 33 and 9.5."""
    resized = picture(200, 151).resize((194, 147), Image.Resampling.BILINEAR)
    assert validation_crop(picture(200, 151), 128).tobytes() == resized.crop((33, 10, 161, 138)).tobytes()


class Scripted:
    """Random numbers that are told, for torchvision's and for ours."""

    def __init__(self, uniform: list[float], integers: list[int], random: list[float]) -> None:
        self.numbers = {"uniform": iter(uniform), "integers": iter(integers), "random": iter(random)}

    def uniform(self, low: float, high: float) -> float:
        value = next(self.numbers["uniform"])
        assert low <= value <= high
        return value

    def integers(self, high: int) -> int:
        value = next(self.numbers["integers"])
        assert 0 <= value < high
        return int(value)

    def random(self) -> float:
        return next(self.numbers["random"])


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("is_brightness_first", [False, True])
def test_training_images_are_the_operations_of_torchvision(is_flipped: bool, is_brightness_first: bool) -> None:
    torchvision_transforms()
    from torchvision.transforms import functional

    # the first part, 100 % of the area at 4 : 3, does not fit; the second does: 40 % of 60 * 80 at ratio 1.2
    area, ratio = 0.4, 1.2
    rng: Any = Scripted(
        [1.0, np.log(4 / 3), area, np.log(ratio), 1.1, 0.6],
        [7, 5],
        [0.1 if is_flipped else 0.9, 0.1 if is_brightness_first else 0.9],
    )
    found = training_crop(picture(60, 80), 32, rng)
    width, height = round((area * 60 * 80 * ratio) ** 0.5), round((area * 60 * 80 / ratio) ** 0.5)
    expected = functional.resized_crop(picture(60, 80), 5, 7, height, width, [32, 32])
    expected = functional.hflip(expected) if is_flipped else expected
    if is_brightness_first:
        expected = functional.adjust_saturation(functional.adjust_brightness(expected, 1.1), 0.6)
    else:
        expected = functional.adjust_brightness(functional.adjust_saturation(expected, 0.6), 1.1)
    assert found.tobytes() == expected.tobytes()


def test_random_parts_are_distributed_as_in_torchvision() -> None:
    transforms = torchvision_transforms()
    rng = np.random.default_rng(0)
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(0)
        for width, height in ((90, 60), (30, 60), (5, 100), (100, 5)):
            found = np.asarray([ofa_images._random_box(width, height, rng) for _ in range(1500)])
            boxes = [
                transforms.RandomResizedCrop.get_params(picture(width, height), [0.08, 1.0], [3 / 4, 4 / 3])
                for _ in range(1500)
            ]
            expected = np.asarray([(left, top, left + w, top + h) for top, left, h, w in boxes])
            error = 4 * np.hypot(found.std(0), expected.std(0)) / 1500**0.5 + 1e-9
            assert (abs(found.mean(0) - expected.mean(0)) <= error).all(), (width, height)
            assert (found.min(0) >= 0).all()
            assert (found.max(0) <= (width, height, width, height)).all()
    finally:
        torch.random.set_rng_state(state)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("n02", "n01/b", "n01/A", "n03", "n01")):
        (tmp_path / "val" / name).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            picture(10, 12, index).save(tmp_path / "val" / name / f"{number}{name[-1]}.{('png', 'JPEG')[number]}")
    (tmp_path / "val" / "n01" / "notes.txt").write_text("no image")
    (tmp_path / "val" / "n01" / "._0b.png").write_bytes(b"of macOS")
    return tmp_path / "val"


def test_files_and_classes_are_those_of_torchvision(folder: Path) -> None:
    torchvision_transforms()
    from torchvision.datasets import ImageFolder

    (folder / "n01" / "._0b.png").unlink()  # which torchvision would list
    expected = ImageFolder(str(folder)).samples
    found = labelled_images(folder, 3)
    assert sorted((str(image.path), image.label) for image in found) == sorted(expected)
    for deeper in ("b", "A"):
        for path in (folder / "n01" / deeper).iterdir():
            path.unlink()
    assert [(str(image.path), image.label) for image in labelled_images(folder, 3)] == ImageFolder(str(folder)).samples


def test_images_without_folders_have_their_labels_in_a_file(folder: Path, tmp_path: Path) -> None:
    flat = folder / "n02"
    names = [path.name for path in image_files(flat)]
    (tmp_path / "labels.txt").write_text(f"val/{names[1]} 2\n\n{names[0]}\t0\nelsewhere.png 1\n")
    assert labelled_images(flat, 3, tmp_path / "labels.txt") == [
        Labelled(flat / names[0], 0),
        Labelled(flat / names[1], 2),
    ]


def test_bad_folders_and_labels_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases: list[tuple[Any, str]] = [
        (lambda: image_files(tmp_path / "nowhere"), "nowhere: no such folder"),
        (lambda: image_files(tmp_path / "empty"), "empty: no image below it"),
        (lambda: labelled_images(folder, 1000), "val: 3 folders of classes; expected the supernet's 1000"),
        (lambda: labelled_images(folder / "n02", 3), "n02: 0 folders of classes"),
        (lambda: labelled_images(folder, 3, tmp_path / "none.txt"), "none.txt: cannot be read"),
    ]
    for text, complaint in (
        ("0b.png", "line 1 is '0b.png'"),
        ("a 1\nb 3", "line 2 is 'b 3'"),
        ("a 1", "no label of 01.png and 9 other images"),
    ):
        file = tmp_path / f"{len(cases)}.txt"
        file.write_text(text)
        cases.append((partial(labelled_images, folder, 3, file), complaint))
    for call, complaint in cases:
        with pytest.raises(CgirError) as caught:
            call()
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture(40, 40).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CgirError, match=r"a\.jpg: cannot be read as an image") as caught:
        read_image(path, partial(validation_crop, size=32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colours_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    picture(40, 40).convert(mode).save(path)
    found = read_image(path, partial(validation_crop, size=32))
    expected = np.array(validation_crop(Image.open(path).convert("RGB"), 32))
    assert torch.equal(found, torch.from_numpy(expected).permute(2, 0, 1))


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_keep_the_order_and_read_only_a_little_ahead(workers: int) -> None:
    started: list[int] = []

    def read(index: int) -> Tensor:
        started.append(index)
        return torch.full((3, 2, 2), index, dtype=torch.uint8)

    reads = [partial(read, index) for index in range(23)]
    found = []
    for number, batch in enumerate(batches(reads, 4, workers, torch.device("cpu"))):
        assert max(started) < 4 * (number + 1 + ofa_images.AHEAD)
        found.append(batch)
    assert [len(batch) for batch in found] == [4, 4, 4, 4, 4, 3]
    numbers = torch.arange(23, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    assert torch.equal(torch.cat(found), normalized(numbers))


def test_an_image_that_cannot_be_read_ends_the_batches() -> None:
    def fail() -> Tensor:
        raise CgirError("b.jpg: cannot be read")

    reads = [lambda: torch.zeros(3, 2, 2, dtype=torch.uint8)] * 5 + [fail] * 50
    with pytest.raises(CgirError, match=r"b\.jpg"):
        list(batches(reads, 4, 2, torch.device("cpu")))


def test_digests_tell_images_and_labels_apart(folder: Path) -> None:
    images = labelled_images(folder, 3)
    assert digest(images, folder) == digest(list(images), folder)
    others = (images[1:], images[::-1], [Labelled(images[0].path, 2), *images[1:]])
    assert len({digest(images, folder), *(digest(other, folder) for other in others)}) == 4
