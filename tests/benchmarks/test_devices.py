"""What is compared on each device is the same network, and a missing GPU is said to be missing."""

import numpy as np
import pytest
import torch

pytest.importorskip("torch_geometric")  # of the extra [bench]

from benchmarks import devices, encoding
from benchmarks.devices import NOT_MEASURED, embedding, missing, pretraining_table
from contrastive import PretrainConfig
from encoders import Encoder, EncoderConfig

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")
CPU = torch.device("cpu")
SMALL = EncoderConfig(width=8, layers=2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (devices, encoding):
        monkeypatch.setattr(module, "CONFIG", SMALL)
        monkeypatch.setattr(module, "POOL", 6)
    monkeypatch.setattr(devices, "PRETRAIN", PretrainConfig(batch=8, projection=4, encoder=SMALL))
    monkeypatch.setattr(devices, "STEPS", {"cpu": 2})


def test_networks_are_embedded_by_both() -> None:
    batch = encoding.random_networks("nasbench201", 9)
    found = embedding(batch, CPU, 2, 1)
    np.testing.assert_allclose(found.vectors, Encoder(SMALL).embed(batch, device="cpu"), atol=1e-6)
    assert min(found.ours, found.theirs) > 0


def test_a_gpu_that_is_not_there_is_not_measured() -> None:
    assert missing([CPU], 2) == [("GPU", NOT_MEASURED, NOT_MEASURED)]
    assert missing([CPU, torch.device("cuda", 0)], 2) == []
    table = pretraining_table([CPU])
    assert [len(row) for row in table.rows] == [len(table.columns)] * 2
    assert table.rows[1] == ("GPU", *[NOT_MEASURED] * 4)
    assert all(float(cell) == float(cell) for cell in table.rows[0][1:])
