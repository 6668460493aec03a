"""Several processes on one batch give loss and gradients of a single one; runs resume with another number of them."""

import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from encoders_samples import random_cnns
from safetensors.torch import load_file, save_file
from torch import multiprocessing

from cgir.errors import CgirError
from contrastive import PretrainConfig, distributed, pretrain
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import as_pool
from encoders import EncoderConfig, load_encoder

CONFIG = PretrainConfig.paper(
    contrast="wl",
    property_weight=0.5,
    path_weight=0.25,
    mask_weight=0.5,
    steps=6,
    batch=14,
    projection=8,
    held_out=0.2,
    encoder=EncoderConfig(width=16, layers=2),
)
GRAPHS = random_cnns(20) + random_cnns(10, seed=1, channels=(32,))
FAMILIES = ["a"] * 20 + ["b"] * 10
CONTRASTS = ("spectral", "wl", "supcon", "simclr")
ALONE = {"contrast_weight": 0.0, "property_weight": 0.0, "path_weight": 0.0, "mask_weight": 1.0}


def together(rank, size, port, work, folder):
    """What each process does, as `torchrun` would start it."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    work(folder)


def start(work, folder, size=2):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(together, (size, port, work, str(folder)), size, start_method="spawn")


def first_step(config, double=True):
    """Loss of step 0 and all gradients, in double precision."""
    run = PretrainingRun(as_pool(GRAPHS, FAMILIES), config)
    run.objective.double()
    loss = run.advance()
    return {"loss": torch.tensor(loss)} | {
        name: p.grad for name, p in run.objective.named_parameters() if p.grad is not None
    }


def runs(folder):
    """Whole runs; gradients of every contrast, and of masks, of which the batch of 4 has none for the second process;
    what is refused.
    """
    encoder = pretrain(GRAPHS, CONFIG, FAMILIES, run_dir=f"{folder}/two", progress=False)
    assert distributed.rank_and_world_size() == (dist.get_rank(), 2)
    assert equal(encoder, load_encoder(f"{folder}/two/encoder.safetensors"), 0)  # there when anyone returns
    pretrain(GRAPHS, CONFIG, FAMILIES, run_dir=f"{folder}/taken-up", progress=False)
    for name, config in recipes().items():
        save_file(first_step(config), f"{folder}/{name}-{dist.get_rank()}.safetensors")
    with pytest.raises(CgirError, match="2 processes have different graphs"):
        pretrain(GRAPHS, replace(CONFIG, seed=dist.get_rank()), FAMILIES, progress=False)
    with pytest.raises(CgirError, match="norm='batch'"):
        pretrain(GRAPHS, replace(CONFIG, encoder=EncoderConfig(width=16, norm="batch")), FAMILIES, progress=False)


def recipes():
    return {name: replace(CONFIG, contrast=name) for name in CONTRASTS} | {"few": replace(CONFIG, batch=4, **ALONE)}


def equal(a, b, tolerance):
    return all(
        torch.allclose(x, y, rtol=tolerance, atol=tolerance)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


class Interrupted(Exception):
    pass


def interrupted(folder, monkeypatch, at):
    """A run of one process that stopped after so many steps."""
    advance = PretrainingRun.advance

    def stop(self):
        if self.step == at:
            raise Interrupted
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingRun, "advance", stop)
        with pytest.raises(Interrupted):
            pretrain(GRAPHS, CONFIG, FAMILIES, run_dir=folder, checkpoint_every=1, progress=False)


def test_two_processes_do_what_one_does(tmp_path, monkeypatch):
    interrupted(tmp_path / "taken-up", monkeypatch, at=3)
    start(runs, tmp_path)
    for name, config in recipes().items():
        expected = first_step(config)
        for rank in range(2):
            found = load_file(tmp_path / f"{name}-{rank}.safetensors")
            assert found.pop("loss").item() == pytest.approx(expected["loss"].item(), rel=1e-6)  # written as float32
            for key, grad in found.items():
                torch.testing.assert_close(grad, expected.get(key, torch.zeros_like(grad)), rtol=1e-9, atol=1e-12)
            assert set(found) >= set(expected) - {"loss"}
    alone = pretrain(GRAPHS, CONFIG, FAMILIES, progress=False)
    for folder in ("two", "taken-up"):
        assert equal(load_encoder(tmp_path / folder / "encoder.safetensors"), alone, 1e-4), folder
    # one process resumes where two ended
    finished = pretrain(GRAPHS, CONFIG, FAMILIES, run_dir=tmp_path / "two", progress=False)
    assert equal(finished, load_encoder(tmp_path / "two" / "encoder.safetensors"), 0)


def test_shares_are_the_whole(monkeypatch):
    for total, size in ((14, 4), (3, 5), (256, 8)):
        parts = []
        for rank in range(size):
            monkeypatch.setattr(distributed, "rank_and_world_size", lambda rank=rank, size=size: (rank, size))
            parts.append(np.arange(total)[distributed.local_rows(total)])
        assert np.array_equal(np.concatenate(parts), np.arange(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_every_process_needs_a_graph(monkeypatch):
    monkeypatch.setattr(distributed, "rank_and_world_size", lambda: (0, 15))
    with pytest.raises(CgirError, match="batch=14 for 15 processes"):
        PretrainingRun(as_pool(GRAPHS, FAMILIES), CONFIG)


def test_one_process_passes_through():
    x = torch.ones(3, 2)
    assert distributed.all_gather(x, slice(0, 3), 3) is x
    assert distributed.rank_and_world_size() == (0, 1)
    distributed.init_process_group()
    assert not dist.is_initialized()
    distributed.check_same("anything", torch.device("cpu"))
