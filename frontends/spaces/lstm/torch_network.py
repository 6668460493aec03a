"""A language model of LSTM layers (Hochreiter & Schmidhuber 1997), in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn


class LstmNetwork(nn.Module):
    """Embedding, LSTM layers, a linear layer, without dropout; states begin at zero.

    Args:
        vocabulary: number of words.
        embedding: channels of the embedding.
        layers: number of LSTM layers.
        hidden: channels of each.
    """

    def __init__(self, vocabulary: int, embedding: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.layers = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.decoder = nn.Linear(hidden, vocabulary)

    def forward(self, words: Tensor) -> Tensor:
        """Scores of the next word: (B, T) -> (B, T, vocabulary)."""
        scores: Tensor = self.decoder(self.layers(self.embedding(words))[0])
        return scores
