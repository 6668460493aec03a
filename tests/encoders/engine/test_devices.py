"""`device=`: what it takes, and that batches and modules compute on a second device all that they do on the CPU."""

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from second_device import SECOND, SecondDevice, SecondTensor, WrongDevice, second_device
from torch.nn.attention import SDPBackend, sdpa_kernel

from cgir.errors import CgirError
from encoders import Encoder, EncoderConfig, GraphTensors, SiblingConfig, SiblingTransformer
from encoders.engine import batching, devices
from encoders.engine.devices import as_device, device_for, moved, on_device
from encoders.models.conv_layers import LAYERS
from encoders.models.pooling import POOLS

GRAPHS = random_cnns(12)
SMALL = EncoderConfig(width=8, layers=3)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("abacus", r"device='abacus' \(.*\); expected auto, cpu, cuda or cuda:1"),
        ("meta", r"device='meta' \(.*\); expected auto"),
        (3.5, r"device='3.5' \(.*\); expected auto"),
        (f"cuda:{torch.cuda.device_count()}", r"PyTorch finds \d+ GPUs; use device='cpu'"),
        (torch.device("cuda", torch.cuda.device_count()), r"PyTorch finds \d+ GPUs; use device='cpu'"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(device, message) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        Encoder(SMALL).embed(GRAPHS, device=device)
    assert "\n" not in str(caught.value)


def test_auto_is_the_gpu_where_there_is_one(monkeypatch) -> None:
    assert as_device("cpu") == as_device(torch.device("cpu", 0)) == torch.device("cpu")
    for found, expected in ((False, torch.device("cpu")), (True, torch.device("cuda", 0))):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
        assert as_device("auto") == device_for(Encoder(SMALL)) == expected
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [as_device(d) for d in ("cuda", "cuda:1")] == [torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert as_device("cuda") == as_device("auto") == torch.device("cuda", 1)


def test_a_module_that_is_elsewhere_stays_there() -> None:
    """By "auto" it computes where it is; on the CPU a copy of it does."""
    away = Encoder(SMALL).to("meta")
    assert device_for(away) == torch.device("meta")
    assert device_for(away, "cpu") == torch.device("cpu")
    encoder = Encoder(SMALL)
    assert on_device(encoder, torch.device("cpu")) is encoder
    assert next(on_device(encoder, torch.device("meta")).parameters()).is_meta
    assert not next(encoder.parameters()).is_meta


def test_tensors_are_sent_together() -> None:
    """Each arrives as it is, whatever its type, shape and strides; one transfer is made."""
    rng = np.random.default_rng(0)
    tensors = [
        torch.from_numpy(rng.integers(0, 100, (3, 5))),
        torch.tensor([True, False, True]),
        torch.empty(0, 4, dtype=torch.int32),
        torch.from_numpy(rng.normal(size=(7, 3))).T,
        torch.tensor(2.5, dtype=torch.bfloat16),
        torch.empty(0),
    ]
    sent = []

    class Log(SecondDevice):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "_to_copy" in str(func):
                sent.append(func)
            return super().__torch_dispatch__(func, types, args, kwargs)

    with Log():
        copies = moved(tensors, SECOND)
    assert len(sent) == 1
    for tensor, copy in zip(tensors, copies, strict=True):
        assert isinstance(copy, SecondTensor)
        assert (copy.dtype, copy.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(copy.held, tensor)


CASES = [
    *((EncoderConfig(width=8, layers=3, layer=layer), "auto") for layer in LAYERS),
    *((EncoderConfig(width=8, layers=3, pool=pool, norm="batch"), "plain") for pool in POOLS),
    (SMALL, "compressed"),
]


@pytest.mark.parametrize(("config", "engine"), CASES, ids=lambda v: v if isinstance(v, str) else f"{v.layer}-{v.pool}")
def test_outputs_and_gradients_on_a_second_device_are_those_of_the_cpu(monkeypatch, config, engine) -> None:
    """To rounding, as the device computes on the CPU; a tensor left behind or made on the wrong device raises."""

    def outcome(device, batch):
        encoder = Encoder(config, seed=1).to(device).train()
        out = encoder(batch)
        torch.autograd.backward(out.square().sum())
        return [out.detach(), *(parameter.grad for parameter in encoder.parameters() if parameter.grad is not None)]

    expected = outcome("cpu", GraphTensors(GRAPHS, 3, engine).minibatch(range(12)))
    with second_device(monkeypatch) as device:
        found = outcome(device, GraphTensors(GRAPHS, 3, engine).minibatch(range(12), device))
    assert len(found) == len(expected)
    assert all(isinstance(tensor, SecondTensor) for tensor in found)
    scale = max(float(b.abs().max()) for b in expected)  # some gradients are zero but for rounding
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.held, b, rtol=1e-5, atol=1e-6 * scale)


def test_a_batch_left_on_the_cpu_is_noticed(monkeypatch) -> None:
    """So the test before can fail."""
    with second_device(monkeypatch) as device, pytest.raises(WrongDevice):
        Encoder(SMALL).to(device)(GraphTensors(GRAPHS, 3).minibatch(range(12)))


@pytest.mark.parametrize("encoder", [Encoder(SMALL), SiblingTransformer(SiblingConfig(width=8, layers=2))])
def test_embeddings_on_a_second_device_are_those_of_the_cpu(monkeypatch, encoder) -> None:
    with sdpa_kernel(SDPBackend.MATH):  # the CPU's own kernel rounds otherwise, and no other device has it
        expected = encoder.embed(GRAPHS, device="cpu")
    with second_device(monkeypatch):
        found = encoder.embed(GRAPHS, device="meta")
    np.testing.assert_array_equal(found, expected)
    assert next(encoder.parameters()).device == torch.device("cpu")


def test_layers_share_a_block_on_every_device(monkeypatch) -> None:
    """So each is sent once, and its transpose is made once."""
    monkeypatch.setattr(batching, "FEW_NODES", 0)  # the first layer of larger batches reads kinds
    batch = GraphTensors(GRAPHS, 4, "plain").minibatch(range(12))
    with second_device(monkeypatch) as device:
        there = batch.to(device)
    assert len({id(block) for block in there.forward_stream.blocks}) == 2
    assert there.to(device) is there


def test_the_last_minibatch_is_kept_where_it_was_sent(monkeypatch) -> None:
    tensors = GraphTensors(GRAPHS, 3)
    with second_device(monkeypatch) as device:
        there = tensors.minibatch(range(5), device)
        assert tensors.minibatch(range(5), device) is there
    assert tensors.minibatch(range(5)) is tensors.minibatch(range(5))


def test_bfloat16_embeds_to_three_digits() -> None:
    encoder = Encoder(SMALL)
    expected, found = encoder.embed(GRAPHS), encoder.embed(GRAPHS, autocast=True)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


@CUDA
@pytest.mark.parametrize("encoder", [Encoder(SMALL), SiblingTransformer(SiblingConfig(width=8, layers=2))])
def test_embeddings_of_a_gpu_are_those_of_the_cpu(encoder) -> None:
    np.testing.assert_allclose(encoder.embed(GRAPHS, device="cuda"), encoder.embed(GRAPHS, device="cpu"), atol=1e-5)
    assert devices.device_for(encoder).type == "cuda"
