"""Images: checks, splits, draws, and the sets that are known."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from one_shot_samples import digits

from cgir.errors import CgirError, FileFormatError
from search.one_shot import Images, load_images

PIXELS, LABELS = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS[0], LABELS, r"pixels of shape \(1, 2, 2\)"),
        (PIXELS.double(), LABELS, "torch.float64"),
        (PIXELS[:0], LABELS[:0], r"pixels of shape \(0, 1, 2, 2\)"),
        (PIXELS, LABELS[:3], r"labels of shape \(3,\), torch.int64 for 4 images"),
        (PIXELS, LABELS.int(), "torch.int32"),
        (PIXELS, LABELS + 1, "labels 1 to 3; expected 0 to 2"),
        (PIXELS, LABELS - 1, "labels -1 to 1"),
        (PIXELS + torch.nan, LABELS, "a pixel is not a finite number"),
    ],
)
def test_what_does_not_fit_together_is_refused(pixels: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        Images(pixels, labels, 3, name="mine")
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)


def test_parts_are_disjoint_complete_and_seeded() -> None:
    images = Images(torch.arange(40.0).reshape(40, 1, 1, 1), torch.zeros(40, dtype=torch.int64), 2)
    first, second = images.split(seed=1, share=0.25)
    assert (len(first), len(second)) == (10, 30)
    both = torch.cat([first.pixels, second.pixels]).flatten()
    assert sorted(both.tolist()) == list(range(40))
    assert torch.equal(images.split(seed=1, share=0.25)[0].pixels, first.pixels)
    assert not torch.equal(images.split(seed=2, share=0.25)[0].pixels, first.pixels)
    with pytest.raises(CgirError, match="share=nan; expected a finite number"):
        images.split(share=float("nan"))
    with pytest.raises(CgirError, match="seed=-1; expected a whole number from 0"):
        images.split(seed=-1)
    for share in (0.001, 1.5):
        with pytest.raises(CgirError, match=rf"share={share} of 40 images leaves one part empty"):
            images.split(share=share)


def test_draws_are_images_with_their_labels() -> None:
    images = digits()
    pixels, labels = images.draw(200, torch.Generator().manual_seed(0))
    again = images.draw(200, torch.Generator().manual_seed(0))
    assert torch.equal(pixels, again[0])
    assert torch.equal(labels, again[1])
    for pixel, label in zip(pixels, labels, strict=True):
        rows = (images.pixels == pixel).flatten(1).all(1)
        assert label in images.labels[rows]


def test_augmented_images_are_shifted_and_mirrored() -> None:
    generator = torch.Generator().manual_seed(0)
    one = Images(torch.randn(1, 3, 16, 12, generator=generator), torch.tensor([0]), 1, augment=True)
    drawn, _ = one.draw(300, generator)
    source = one.pixels[0].numpy()
    padded = np.pad(source, ((0, 0), (2, 2), (2, 2)))
    windows = {}
    for mirrored in (False, True):
        for down in range(5):
            for right in range(5):
                window = padded[:, down : down + 16, right : right + 12]
                window = window[:, :, ::-1] if mirrored else window
                windows[window.tobytes()] = (mirrored, down, right)
    found = [windows[picture.numpy().tobytes()] for picture in drawn]  # KeyError where it is none of them
    assert len(set(found)) == 50
    assert 110 < sum(mirrored for mirrored, _, _ in found) < 190


def test_digits_are_normalised_and_averaged() -> None:
    images = load_images("digits")
    assert (images.shape, len(images), images.classes) == ((1, 8, 8), 1797, 10)
    assert float(images.pixels.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.pixels.std()) == pytest.approx(1, abs=1e-5)
    small = load_images("digits", size=4)
    assert small.shape == (1, 4, 4)
    mean = images.pixels.reshape(-1, 1, 4, 2, 4, 2).mean((3, 5))
    torch.testing.assert_close(small.pixels, (mean - mean.mean()) / mean.std(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [3, 0, 16, 4.0, True])
def test_sizes_divide(size: object) -> None:
    with pytest.raises(CgirError, match="expected a divisor of 8"):
        load_images("digits", size=size)


def test_unknown_names_and_missing_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CgirError, match="no images are called 'mnist'; there are digits, cifar10"):
        load_images("mnist")
    monkeypatch.delenv("CGIR_DATA", raising=False)
    with pytest.raises(CgirError, match="cifar10: CGIR_DATA is not set"):
        load_images("cifar10")
    with pytest.raises(CgirError, match="no such file"):
        load_images("cifar10", folder=tmp_path)


def test_cifar10_is_read_from_its_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from io import BytesIO

    image = pytest.importorskip("PIL.Image")
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    rows = []
    for picture in pictures:
        buffer = BytesIO()
        image.fromarray(picture).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    (tmp_path / "cifar10").mkdir()
    pq.write_table(pa.table({"img": rows, "label": [3, 1, 4, 1, 5, 9]}), tmp_path / "cifar10" / "train.parquet")
    monkeypatch.setenv("CGIR_DATA", str(tmp_path))
    images = load_images("cifar10")
    assert images.augment
    assert images.labels.tolist() == [3, 1, 4, 1, 5, 9]
    raw = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    mean, std = raw.mean((0, 2, 3), keepdim=True), raw.std((0, 2, 3), keepdim=True)
    torch.testing.assert_close(images.pixels, (raw - mean) / std)


def test_other_files_in_place_of_cifar10_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "train.parquet"
    for table in (None, {"image": [1]}, {"img": [{"bytes": b"x"}], "label": [1]}, {"img": [1], "label": [1]}):
        path.write_bytes(b"x") if table is None else pq.write_table(pa.table(table), path)
        with pytest.raises(FileFormatError, match="cannot be read") as caught:
            load_images("cifar10", folder=tmp_path)
        assert "\n" not in str(caught.value)
