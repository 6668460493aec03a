"""A fast sample of the corpora of PyTorch models: what `benchmarks/zoo` checks for all of them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import frontends
from benchmarks.zoo import torch_costs, torch_models, transformers_models
from frontends.torch.torchvision_ops import declare

_VISION = (
    "timm/convnext_atto timm/tf_efficientnet_cc_b0_4e timm/levit_128s timm/mobilenetv3_small_050 "
    "timm/vit_tiny_patch16_224 timm/swin_tiny_patch4_window7_224 "
    "torchvision/shufflenet_v2_x0_5 torchvision/ssdlite320_mobilenet_v3_large torchvision/quantized_mobilenet_v2"
)
VISION = _VISION.split()
LANGUAGE = ("bert", "llama", "mixtral", "clip", "t5", "convnext", "higgs_audio_v2", "longcat_flash", "uvdoc")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The libraries warn of their own deprecations and log what they choose by default."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("case", VISION)
def test_vision_models(case: str) -> None:
    assert torch_models.check(case) == dict.fromkeys(torch_models.COLUMNS, True)


@pytest.mark.parametrize("case", LANGUAGE)
def test_language_models(case: str) -> None:
    masked = transformers_models.MASKED
    takes_no_mask = {masked: None} if case in ("convnext", "uvdoc") else {}
    assert transformers_models.check(case) == dict.fromkeys(transformers_models.COLUMNS, True) | takes_no_mask


def test_grouped_experts_compute_what_their_own_loops_do() -> None:
    declare()
    from transformers.models.longcat_flash.modeling_longcat_flash import LongcatFlashExperts
    from transformers.models.step3p7.modeling_step3p7 import Step3p7Experts

    torch.manual_seed(0)
    config = SimpleNamespace(
        expert_ffn_hidden_size=16,
        moe_intermediate_size=16,
        hidden_size=32,
        n_routed_experts=4,
        num_local_experts=4,
        zero_expert_num=0,
        hidden_act="silu",
    )
    weights, chosen = torch.rand(10, 4).topk(2)
    for experts in (LongcatFlashExperts(config), Step3p7Experts(config, swiglu_limit=0.5)):
        for parameter in experts.parameters():
            nn.init.normal_(parameter)
        tokens = torch.randn(10, 32)
        looped = experts(tokens, chosen, weights)
        transformers_models.group(experts)
        assert torch.allclose(experts(tokens, chosen, weights), looped, rtol=1e-4, atol=1e-3)


def test_every_case_is_a_name_of_the_libraries() -> None:
    assert len(torch_models.cases()) > 1400
    assert len(transformers_models.cases()) > 400
    assert set(VISION) <= set(torch_models.cases())
    assert set(LANGUAGE) <= set(transformers_models.cases())
    assert {name.partition(":")[0] for name in transformers_models.EXCEPTIONS} <= set(transformers_models.cases())


def test_checks_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = torch_models.build("timm/mobilenetv3_small_050")
    raw: Any = frontends.trace(model, inputs, raw=True)
    larger = nn.Sequential(model, nn.Linear(3, 4))
    assert torch_costs.counted(larger, raw)["parameters exact"] is not True
    monkeypatch.setattr(FlopCounterMode, "get_total_flops", lambda self: 1)
    assert torch_models.check("timm/mobilenetv3_small_050")["FLOPs exact"] == f"found {raw.flops:,}, expected 1"
