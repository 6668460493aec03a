"""Pretraining on a second device: the CPU's bits where that computes on the CPU, close ones on a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from pretraining_samples import CONFIG, FAMILIES, GRAPHS, POOL, SMALL
from safetensors.torch import load_file
from second_device import SecondTensor, WrongDevice, second_device
from torch import distributed as dist

from contrastive import PretrainConfig, distributed, pretrain
from contrastive.config import CONTRASTS, WEIGHTS
from contrastive.episodes import pretrain_by_episodes
from contrastive.objectives.property_regression import PropertyRegression
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import as_pool
from encoders import EncoderConfig
from encoders.training.seeding import seeded

ALL = replace(CONFIG, **dict.fromkeys(WEIGHTS, 0.5))
DROPOUT = replace(ALL, encoder=replace(SMALL, dropout=0.2, norm="batch"))
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def weights(encoder):
    assert not any(isinstance(tensor, SecondTensor) for tensor in encoder.state_dict().values())
    return list(encoder.state_dict().values())


def run(config, device, **options):
    return weights(pretrain(POOL, config, device=device, progress=False, **options))


@pytest.mark.parametrize(
    "config",
    [ALL, DROPOUT, *(replace(CONFIG, contrast=name) for name in CONTRASTS)],
    ids=["all", "dropout", *CONTRASTS],
)
def test_pretraining_on_a_second_device_is_that_of_the_cpu(monkeypatch, config):
    expected = run(config, "cpu")
    with second_device(monkeypatch):
        found = run(config, "meta")
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_no_tensor_of_a_step_is_made_on_the_wrong_device(monkeypatch):
    """A step computes nothing on the CPU but what prepares its batches; a loss left there is noticed."""
    on_cpu = []
    with second_device(monkeypatch, on_cpu) as device:
        training = PretrainingRun(POOL, ALL, device)
        training.advance()
        del on_cpu[:]
        training.advance()
        assert on_cpu == []
        forward = PropertyRegression.forward
        monkeypatch.setattr(PropertyRegression, "forward", lambda self, c: forward(self, c) + torch.zeros(()))
        training.advance()
        assert set(on_cpu) == {"zeros"}
        moved = training.objective.terms["property"]
        moved.targets = moved.targets.cpu()
        with pytest.raises(WrongDevice):
            training.advance()


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")  # as the second device is no real one
@pytest.mark.parametrize(("first", "second"), [("meta", "cpu"), ("cpu", "meta")])
def test_a_run_resumes_on_another_device(tmp_path, monkeypatch, first, second):
    """Its state is of the CPU's tensors."""
    expected = run(replace(ALL, steps=5), "cpu")
    advance, config = PretrainingRun.advance, replace(ALL, steps=5)

    def stop(self):
        if self.step == 3:
            raise InterruptedError
        return advance(self)

    with second_device(monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(PretrainingRun, "advance", stop)
            with pytest.raises(InterruptedError):
                run(config, first, run_dir=tmp_path, checkpoint_every=1)
        state = load_file(tmp_path / "state.safetensors")
        assert {tensor.device.type for tensor in state.values()} == {"cpu"}
        assert any(name.startswith("optimizer.") for name in state)
        found = run(config, second, run_dir=tmp_path)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_episodes_on_a_second_device_are_those_of_the_cpu(monkeypatch):
    pool = as_pool(random_cnns(40), behaviours=np.random.default_rng(0).normal(size=(40, 2)))
    config = PretrainConfig(steps=2, encoder=SMALL, projection=4)
    expected = weights(pretrain_by_episodes(pool, config, progress=False, device="cpu"))
    with second_device(monkeypatch):
        found = weights(pretrain_by_episodes(pool, config, progress=False, device="meta"))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_the_loss_to_three_digits(tmp_path):
    """The option belongs to the run: another precision would be another run."""
    exact, rough = (PretrainingRun(POOL, replace(ALL, autocast=autocast)) for autocast in (False, True))
    losses = [(exact.advance(), rough.advance()) for _ in range(3)]
    assert all(a == pytest.approx(b, rel=0.02) for a, b in losses)
    assert losses[0][0] != losses[0][1]
    assert {p.dtype for p in rough.objective.parameters()} == {torch.float32}


def test_dropout_of_a_gpu_depends_on_the_seed_alone():
    """`native_dropout`, which GPUs compute it by, draws from the generator of the section; gradients follow."""

    def draw(seed, p=0.25, train=True):
        x = torch.ones(100, 50, requires_grad=True)
        with seeded(seed):
            out = torch.native_dropout(x, p, train)[0] if train is None else drop(x, p, train)
        torch.autograd.backward(out.sum())
        assert torch.equal(x.grad, out)
        return out.detach()

    def drop(x, p, train):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        out, kept = torch.native_dropout(x, p, train)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(kept, out != 0)
        return out

    first = draw(1)
    assert torch.equal(first, draw(1))
    assert not torch.equal(first, draw(2))
    torch.testing.assert_close(first.unique(), torch.tensor([0, 1 / 0.75]))
    assert float((first > 0).float().mean()) == pytest.approx(0.75, abs=0.02)
    assert torch.equal(draw(1, p=1.0), torch.zeros(100, 50))
    assert torch.equal(draw(1, train=False), torch.ones(100, 50))


@pytest.mark.parametrize(
    ("gpus", "processes", "device", "expected"),
    [
        (0, 4, "auto", ("cpu", "gloo")),
        (4, 4, "auto", ("cuda:2", "nccl")),
        (4, 4, "cuda", ("cuda:2", "nccl")),
        (2, 4, "auto", ("cuda:0", "gloo")),  # NCCL refuses two processes on a GPU
        (4, 4, "cuda:1", ("cuda:1", "gloo")),
        (4, 1, "cuda:1", ("cuda:1", "nccl")),
        (4, 4, "cpu", ("cpu", "gloo")),
    ],
)
def test_processes_have_a_gpu_each_and_talk_by_nccl_then(monkeypatch, gpus, processes, device, expected):
    joined = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    for name, value in {
        "is_torchelastic_launched": True, "is_initialized": False, "is_nccl_available": True,
    }.items():  # fmt: skip
        monkeypatch.setattr(dist, name, lambda value=value: value)
    monkeypatch.setattr(dist, "init_process_group", joined.append)
    monkeypatch.setattr(distributed.atexit, "register", lambda call: None)
    monkeypatch.setenv("LOCAL_RANK", "2" if processes > 2 else "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    where = distributed.init_process_group(device)
    assert (str(where), *joined) == expected


@CUDA
@pytest.mark.parametrize("autocast", [False, True])
def test_losses_on_a_gpu_are_those_of_the_cpu(autocast):
    """Over thirty steps; in bfloat16 to two digits."""
    config = replace(ALL, steps=30, encoder=EncoderConfig(width=32, layers=3))
    expected = PretrainingRun(POOL, config)
    found = PretrainingRun(POOL, replace(config, autocast=autocast), torch.device("cuda", 0))
    for _ in range(30):
        assert found.advance() == pytest.approx(expected.advance(), rel=0.03 if autocast else 1e-3)


@CUDA
def test_a_run_goes_to_a_gpu_and_back(tmp_path):
    expected = run(ALL, "cpu")
    for device, steps in (("cuda", 1), ("cpu", 2), ("cuda", 3)):
        found = weights(
            pretrain(GRAPHS, replace(ALL, behaviour_weight=0.0, steps=steps), FAMILIES, run_dir=tmp_path, device=device)
        )
    assert len(found) == len(expected)
