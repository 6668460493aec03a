"""Models of transformers as they are called: with token ids and an attention mask, whose values nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import cgir
import frontends
from frontends.torch.torchvision_ops import declare

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
}


def _bert(tf: Any) -> nn.Module:
    model: nn.Module = tf.BertModel(tf.BertConfig(**SMALL))
    return model


def _llama(tf: Any) -> nn.Module:
    model: nn.Module = tf.LlamaModel(tf.LlamaConfig(**SMALL, num_key_value_heads=2, use_cache=False))
    return model


def _gpt2(tf: Any) -> nn.Module:
    model: nn.Module = tf.GPT2Model(tf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100, use_cache=False))
    return model


def _t5_encoder(tf: Any) -> nn.Module:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100}
    model: nn.Module = tf.T5EncoderModel(tf.T5Config(**sizes))
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of transformers itself
@pytest.mark.parametrize("build", [_bert, _llama, _gpt2, _t5_encoder])
def test_ids_and_a_mask_give_the_graph_of_the_exported_program(build: Callable[[Any], nn.Module]) -> None:
    declare()
    import transformers

    with torch.device("meta"):  # where PyTorch's counter sees inside attention
        model = build(transformers).eval()
        inputs = {name: torch.ones(1, 8, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    graph = frontends.trace(model, inputs)
    cgir.verify(graph)
    assert sorted(node.name for node in graph.nodes if node.op == "Input") == ["attention_mask", "input_ids"]
    exported = torch.export.export(model, (), inputs, strict=False)
    assert cgir.isomorphic(graph, frontends.trace(exported))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        exported.module()(**inputs)
    assert graph.flops == counter.get_total_flops()
