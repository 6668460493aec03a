"""What TensorBoard reads of a run is what a callback gets, also where the run was taken up again."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from encoders_samples import random_cnns

from contrastive import PretrainConfig, pretrain, tensorboard_log
from encoders import EncoderConfig

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own requirements
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

CONFIG = PretrainConfig(steps=4, batch=8, projection=4, held_out=0.2, encoder=EncoderConfig(width=4, layers=1))


class Stopped(Exception):
    pass


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard finds: the values of each tag by step."""
    found = accumulators.EventAccumulator(str(folder))
    found.Reload()
    return {tag: {e.step: e.value for e in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_all_losses(tmp_path: Path) -> None:
    seen: dict[int, dict[str, float]] = {}

    def train(stop: int) -> None:
        with tensorboard_log(tmp_path / "curves") as write:

            def both(step, losses):
                seen[step] = losses
                write(step, losses)
                if step == stop:
                    raise Stopped

            graphs = random_cnns(20)
            pretrain(graphs, CONFIG, [0, 1] * 10, run_dir=tmp_path / "run", progress=False, callback=both)

    with pytest.raises(Stopped):
        train(stop=2)
    train(stop=0)
    assert list(seen) == [1, 2, 3, 4]
    found = curves(tmp_path / "curves" / "train")
    assert set(found) == {"loss", "contrast", "property", "path"}
    for tag, values in found.items():
        assert values == {step: pytest.approx(losses[tag], rel=1e-6) for step, losses in seen.items()}
    held_out = curves(tmp_path / "curves" / "held_out")
    assert held_out["loss"] == {4: pytest.approx(seen[4]["held_out"], rel=1e-6)}
    assert held_out["path"] == {4: pytest.approx(seen[4]["held_out_path"], rel=1e-6)}
