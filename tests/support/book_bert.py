"""The BERT of *Dive into Deep Learning*, from its description: the oracle of conversions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

SPECIALS = ("<cls>", "<mask>", "<pad>", "<sep>", "<unk>")


class BookAttention(nn.Module):
    """Multi-head attention of a sequence to itself; tokens after ``n_valid`` are masked."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.W_q = nn.Linear(width, width, bias=bias)
        self.W_k = nn.Linear(width, width, bias=bias)
        self.W_v = nn.Linear(width, width, bias=bias)
        self.W_o = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, n_valid: Tensor) -> Tensor:
        n_sequences, n_tokens, width = x.shape
        by_head = (n_sequences, n_tokens, self.heads, width // self.heads)
        q, k, v = (w(x).view(by_head).transpose(1, 2) for w in (self.W_q, self.W_k, self.W_v))
        scores = q @ k.transpose(2, 3) / (width / self.heads) ** 0.5
        masked = torch.arange(n_tokens)[None] >= n_valid[:, None]
        weights = scores.masked_fill(masked[:, None, None], -1e6).softmax(-1)
        mixed: Tensor = self.W_o((weights @ v).transpose(1, 2).reshape(x.shape))
        return mixed


class BookNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)


class BookFeedForward(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(width, inner)
        self.dense2 = nn.Linear(inner, width)


class BookBlock(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.attention = BookAttention(width, heads, bias)
        self.addnorm1 = BookNorm(width)
        self.ffn = BookFeedForward(width, inner)
        self.addnorm2 = BookNorm(width)

    def forward(self, x: Tensor, n_valid: Tensor) -> Tensor:
        x = self.addnorm1.ln(x + self.attention(x, n_valid))
        found: Tensor = self.addnorm2.ln(x + self.ffn.dense2(self.ffn.dense1(x).relu()))
        return found


class BookEncoder(nn.Module):
    def __init__(
        self,
        n_words: int,
        width: int,
        heads: int,
        inner: int,
        layers: int,
        longest: int,
        bias: bool,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(n_words, width)
        self.segment_embedding = nn.Embedding(2, width)
        self.pos_embedding = nn.Parameter(torch.randn(1, longest, width))
        self.blks = nn.Sequential(*(BookBlock(width, heads, inner, bias) for _ in range(layers)))


class BookBert(nn.Module):
    """The whole pretrained model, with the parts that only pretraining uses."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        width: int = 128,
        heads: int = 2,
        inner: int = 96,
        layers: int = 2,
        longest: int = 48,
        bias: bool = True,
    ) -> None:
        super().__init__()
        n_words = len(words)
        self.encoder = BookEncoder(n_words, width, heads, inner, layers, longest, bias)
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.mlm = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_words))
        self.nsp = nn.Linear(width, 2)
        with torch.no_grad():  # as after training: no scale is 1 and no shift is 0
            for name, parameter in self.named_parameters():
                if ".ln." in name:
                    parameter += 0.1 * torch.randn(width)

    def forward(self, ids: Tensor, segments: Tensor, n_valid: Tensor) -> tuple[Tensor, Tensor]:
        """(S, T, D) vectors of the tokens, and (S, D) pooled ones."""
        encoder = self.encoder
        x = encoder.token_embedding(ids) + encoder.segment_embedding(segments)
        x = x + encoder.pos_embedding[:, : ids.shape[1]]
        for block in encoder.blks:
            x = block(x, n_valid)
        return x, self.hidden(x[:, 0])


def write_book(folder: Path, words: Sequence[str], **sizes: int) -> BookBert:
    """Writes a random model as the book does, and returns it."""
    torch.manual_seed(3)
    model = BookBert(words, **sizes).eval()
    folder.mkdir(exist_ok=True)
    torch.save(model.state_dict(), folder / "pretrained.params")
    (folder / "vocab.json").write_text(json.dumps(list(words)), encoding="utf-8")
    return model


def book_ids(words: Sequence[str], text: str) -> list[int]:
    """The ids of a text's words as the book finds them."""
    ids = {word: i for i, word in enumerate(words)}
    return [ids.get(word, ids["<unk>"]) for word in text.lower().split()]
