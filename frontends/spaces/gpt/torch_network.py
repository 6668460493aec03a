"""OpenLM's decoder-only transformer (the authors' open_lm/model.py), in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RotaryTables(nn.Module):
    """Cosines and sines of rotary positions (Su et al. 2021, section 3.4.2), the halves of a head as its two axes.

    Args:
        head: channels of a head, even.
        context: number of positions.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head: int, context: int) -> None:
        super().__init__()
        speeds = 10_000 ** (-torch.arange(0, head, 2) / head)
        angles = torch.outer(torch.arange(context), speeds).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, heads, T, head) -> the same shape, rotated by position."""
        first, second = x.chunk(2, -1)
        rotated: Tensor = x * self.cos + torch.cat((-second, first), -1) * self.sin
        return rotated


class Block(nn.Module):
    """Causal attention and a SwiGLU (Shazeer 2020), each after a LayerNorm without bias and with a shortcut.

    Args:
        width: channels.
        heads: of the attention, with `width // heads` channels each.
        hidden: channels of the SwiGLU.
        layer: number of the block, from 0; later ones begin smaller.
    """

    def __init__(self, width: int, heads: int, hidden: int, layer: int) -> None:
        super().__init__()
        self.heads, inner = heads, width // heads * heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.in_proj = nn.Linear(width, 3 * inner, bias=False)
        self.out_proj = nn.Linear(inner, width, bias=False)
        self.ffn_norm = nn.LayerNorm(width, bias=False)
        self.w12 = nn.Linear(width, 2 * hidden, bias=False)
        self.w3 = nn.Linear(hidden, width, bias=False)
        shrink = (2 * (layer + 1)) ** -0.5
        for linear, std in (
            (self.in_proj, width**-0.5),
            (self.out_proj, width**-0.5 * shrink),
            (self.w12, width**-0.5),
            (self.w3, hidden**-0.5 * shrink),
        ):
            nn.init.trunc_normal_(linear.weight, std=std, a=-3 * std, b=3 * std)

    def forward(self, x: Tensor, rotary: RotaryTables) -> Tensor:
        """(B, T, width) -> the same shape."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.in_proj(self.attention_norm(x)).chunk(3, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(rotary(queries), rotary(keys), values, is_causal=True)
        x = x + self.out_proj(mixed.transpose(1, 2).flatten(2))
        gate, up = self.w12(self.ffn_norm(x)).chunk(2, -1)
        result: Tensor = x + self.w3(nn.functional.silu(gate) * up)
        return result


class GptNetwork(nn.Module):
    """Embedding, blocks, LayerNorm without bias, an output matrix of its own.

    Args:
        width: channels.
        layers: number of blocks.
        heads: of each attention.
        hidden: channels of each SwiGLU.
        vocabulary: number of tokens.
        context: number of positions.
    """

    def __init__(self, width: int, layers: int, heads: int, hidden: int, vocabulary: int, context: int) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocabulary, width)
        self.rotary = RotaryTables(width // heads, context)
        self.layers = nn.ModuleList(Block(width, heads, hidden, layer) for layer in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.output = nn.Linear(width, vocabulary, bias=False)
        for weight in (self.tok_embeddings.weight, self.output.weight):
            nn.init.trunc_normal_(weight, std=width**-0.5, a=-3 * width**-0.5, b=3 * width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the next token: (B, context) -> (B, context, vocabulary)."""
        x: Tensor = self.tok_embeddings(tokens)
        for block in self.layers:
            x = block(x, self.rotary)
        scores: Tensor = self.output(self.norm(x))
        return scores
