"""Training of supernets: by the seed alone, through interruptions, and never with a number that is none."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_shot_samples import digits, tiny

from cgir.errors import CgirError, FileFormatError
from search.one_shot import (
    Images,
    Supernet,
    Trained,
    checkpoints,
    load_trained,
    train,
    training,
    training_run,
    untrained,
)

HELPERS = Path(__file__).resolve().parents[2] / "helpers"
STEPS = 4


def halves() -> tuple[Images, Images]:
    return digits(48).split()


def run(network: Supernet | None = None, **options: Any) -> Trained:
    network = tiny(channels=2) if network is None else network
    return train(network, *halves(), **{"steps": STEPS, "batch": 6, "progress": False, "device": "cpu"} | options)


def same(a: Trained, b: Trained) -> bool:
    weights = zip(a.supernet.state_dict().values(), b.supernet.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in weights) and torch.equal(a.logits, b.logits) and a.history == b.history


@pytest.mark.parametrize("order", [1, 2])
def test_the_seed_decides_everything(order: int) -> None:
    torch.manual_seed(5)
    first = run(order=order)
    torch.manual_seed(6)
    assert same(run(order=order), first)
    assert not same(run(order=order, seed=1), first)


def test_both_orders_and_the_weights_are_trained() -> None:
    start = tiny(channels=2)
    results = [run(order=order) for order in (1, 2)]
    for result in results:
        assert not any(
            torch.equal(a, b) for a, b in zip(start.parameters(), result.supernet.parameters(), strict=True) if a.any()
        )
        assert result.logits.abs().max() > 3e-3
    assert not torch.equal(results[0].logits, results[1].logits)


def test_losses_fall() -> None:
    history = run(steps=60, batch=16, lr=0.1).history
    first, last = history[:10], history[-10:]
    for name in ("train_loss", "valid_loss"):
        assert np.mean([row[name] for row in last]) < np.mean([row[name] for row in first])
    assert np.mean([row["valid_accuracy"] for row in last]) > 0.2
    assert len(history) == 60
    assert [row["step"] for row in history] == list(range(1, 61))
    mixture = np.array(history[-1]["mixture"]).reshape(6, 5)
    np.testing.assert_allclose(mixture.sum(1), 1, rtol=1e-5)


def test_the_users_supernet_and_random_states_stay() -> None:
    network = tiny(channels=2).eval()
    next(network.parameters()).grad = torch.ones_like(next(network.parameters()))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    with torch.no_grad():
        result = run(network)
        assert not torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert [weight.grad is None for weight in network.parameters()].count(False) == 1
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert all(weight.grad is None for weight in result.supernet.parameters())
    assert not result.logits.requires_grad


def test_frozen_weights_are_trained_too_and_stay_frozen_in_the_users() -> None:
    network = tiny(channels=2).requires_grad_(False)
    assert same(run(network), run())
    assert not any(weight.requires_grad for weight in network.parameters())


class Interrupted(Exception):
    """In place of Ctrl-C."""


@pytest.mark.parametrize(("name", "order"), [("nasbench201", 1), ("nasbench1shot1", 2)])
def test_an_interrupted_run_ends_with_the_same_bits(
    name: str, order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"order": order, "checkpoint_every": 2}
    whole = run(tiny(name, channels=2), path=tmp_path / "whole", **options)
    inner = training_run.weight_gradient
    for broken_at in range(STEPS):
        path, calls = tmp_path / str(broken_at), 0

        def interrupting(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > broken_at:  # noqa: B023
                raise Interrupted
            return inner(*args)

        monkeypatch.setattr(training_run, "weight_gradient", interrupting)
        with pytest.raises(Interrupted):
            run(tiny(name, channels=2), path=path, **options)
        monkeypatch.setattr(training_run, "weight_gradient", inner)
        assert same(run(tiny(name, channels=2), path=path, **options), whole)
        assert path.read_bytes() == (tmp_path / "whole").read_bytes()  # with optimisers and generator


def test_slow_steps_are_kept_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    inner = training_run.weight_gradient

    def looking(*args: Any) -> Any:
        seen.append((tmp_path / "x").exists())
        return inner(*args)

    monkeypatch.setattr(training_run, "weight_gradient", looking)
    monkeypatch.setattr(training, "LONGEST", 0.0)
    run(path=tmp_path / "x")
    assert seen == [False, *[True] * (STEPS - 1)]


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HELPERS / "killed_training.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "5"  # three steps, two checkpoints


def test_a_finished_run_is_read_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(path=tmp_path / "x", alpha_lr=0.1)
    monkeypatch.setattr(training_run, "weight_gradient", None)
    assert same(run(path=tmp_path / "x", alpha_lr=0.1), whole)
    loaded = load_trained(tmp_path / "x")
    assert same(loaded, whole)
    assert loaded.settings == whole.settings
    assert loaded.supernet.config == whole.supernet.config
    assert torch.equal(loaded.mixture, whole.mixture)


def test_a_run_without_momentum_resumes(tmp_path: Path) -> None:
    whole = run(path=tmp_path / "x", momentum=0.0)
    assert same(run(path=tmp_path / "x", momentum=0.0), whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    run(path=tmp_path / "x")
    changed = tiny(channels=2)
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    first, second = halves()
    cases: list[tuple[str, dict[str, Any]]] = [
        ("settings: lr 0.025 there, 0.1 now", {"lr": 0.1}),
        ("settings: steps 4 there, 5 now", {"steps": 5}),
        ("settings: order 1 there, 2 now", {"order": 2}),
        ("supernet: channels 2 there, 4 now", {"network": tiny()}),
        ("supernet: seed 0 there, 1 now", {"network": tiny(channels=2, seed=1)}),
        ("data: weights", {"network": changed}),
    ]
    for message, options in cases:
        with pytest.raises(CgirError, match=message) as caught:
            run(path=tmp_path / "x", **options)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / "x") in str(caught.value)
    with pytest.raises(CgirError, match="data: train"):
        train(tiny(channels=2), second, first, steps=STEPS, batch=6, path=tmp_path / "x", progress=False, device="cpu")


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    run(path=tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    for name, content in (("cut", data[: len(data) // 2]), ("text", b"hello"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        for call in (lambda path: run(path=path), load_trained):
            with pytest.raises(FileFormatError) as caught:
                call(tmp_path / name)
            assert "\n" not in str(caught.value)
    with pytest.raises(FileFormatError, match="no such file"):
        load_trained(tmp_path / "missing")


def test_a_checkpoint_without_a_tensor_is_incomplete(tmp_path: Path) -> None:
    from encoders.models.checkpoints import read_tensors, write_tensors

    run(path=tmp_path / "x")
    tensors, meta = read_tensors(tmp_path / "x", checkpoints.KIND)
    for missing in ("logits", "generator", next(name for name in tensors if name.startswith("model."))):
        rest = {name: tensor for name, tensor in tensors.items() if name != missing}
        write_tensors(tmp_path / "y", checkpoints.KIND, rest, meta)
        with pytest.raises(FileFormatError, match="incomplete state of a training"):
            run(path=tmp_path / "y")


@pytest.mark.parametrize("missing", ["sgd.0.momentum_buffer", "adam.0.exp_avg"])
def test_a_checkpoint_without_a_state_of_an_optimiser_is_incomplete(missing: str, tmp_path: Path) -> None:
    from encoders.models.checkpoints import read_tensors, write_tensors

    run(path=tmp_path / "x")
    tensors, meta = read_tensors(tmp_path / "x", checkpoints.KIND)
    rest = {name: tensor for name, tensor in tensors.items() if name != missing}
    assert len(rest) == len(tensors) - 1
    write_tensors(tmp_path / "x", checkpoints.KIND, rest, meta | {"step": 2})
    with pytest.raises(FileFormatError, match="incomplete state of a training"):
        run(path=tmp_path / "x")


@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_loss_that_is_not_finite_stops_and_the_last_checkpoint_stays(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "weight_gradient" if which == "training" else "architecture_gradient"
    inner, calls = getattr(training_run, name), 0

    def broken(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        result = inner(*args)
        return result._replace(loss=float("nan")) if calls == 4 else result

    monkeypatch.setattr(training_run, name, broken)
    with pytest.raises(CgirError, match=f"the {which} loss of step 3 or its gradient is not finite") as caught:
        run(path=tmp_path / "x", checkpoint_every=2)
    assert "\n" not in str(caught.value)
    assert load_trained(tmp_path / "x").history[-1]["step"] == 2


def test_a_learning_rate_that_is_too_high_is_told() -> None:
    with pytest.raises(CgirError, match="not finite"):
        run(lr=1e30, clip=1e30, steps=20)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0; expected a positive whole number"),
        ({"batch": 1}, "batch=1; BatchNorm needs at least 2 images"),
        ({"order": 3}, "order=3; expected 1 or 2"),
        ({"lr": float("nan")}, "expected a finite number"),
        ({"clip": 0.0}, "expected a positive number"),
        ({"seed": "0"}, "seed='0'; expected a whole number"),
        ({"checkpoint_every": 0}, "checkpoint_every=0; expected a positive whole number"),
        ({"epochs": 3}, "settings are steps, batch, order, seed"),
        ({"device": "abacus"}, "device='abacus'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        run(**settings)
    assert "\n" not in str(caught.value)


def test_images_of_another_size_or_with_other_classes_are_refused() -> None:
    first, second = halves()
    small = replace(second, pixels=second.pixels[:, :, ::2, ::2].contiguous())
    with pytest.raises(CgirError, match=r"images \(1, 4, 4\), the supernet reads \(1, 8, 8\)"):
        train(tiny(channels=2), first, small, steps=1, progress=False)
    with pytest.raises(CgirError, match="11 classes, the supernet has 10"):
        train(tiny(channels=2), replace(first, classes=11), second, steps=1, progress=False)


def test_learning_rate_follows_a_cosine_and_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, norms = [], []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *args: Any, **options: Any) -> Any:
        group = self.param_groups[0]
        rates.append(group["lr"])
        norms.append(float(torch.cat([weight.grad.flatten() for weight in group["params"]]).norm()))
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    run(clip=0.01, lr=0.5, min_lr=0.1)
    expected = [0.1 + 0.4 * (1 + np.cos(np.pi * k / STEPS)) / 2 for k in range(STEPS)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert max(norms) <= 0.01 * (1 + 1e-5)


def test_autocast_trains_and_keeps_weights_in_float32() -> None:
    result = run(autocast=True)
    assert all(weight.dtype == torch.float32 for weight in result.supernet.parameters())
    assert not same(result, run())


def test_an_untrained_supernet_weights_all_operations_equally() -> None:
    network = tiny(channels=2)
    trained = untrained(network)
    assert trained.supernet is network
    torch.testing.assert_close(trained.mixture, torch.full((30,), 0.2))
