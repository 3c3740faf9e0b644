"""Matrices with room for whole blocks of rows.

oneDNN compiles a product for its exact number of rows and keeps it: 10 ms and 5 MB for a small
BERT, while packed batches hardly ever have the same number of tokens twice. Products are therefore
made for whole blocks of rows. What a kernel writes has room behind its last row, so that nothing
is copied for that; the rows in that room are nobody's.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32
"""Rows. On average half of them are multiplied for nothing: 2 % of a batch of 800 tokens."""


def whole_blocks(rows: int) -> int:
    return -(-rows // BLOCK) * BLOCK


def roomy(rows: int, width: int) -> Tensor:
    """(rows, width) fp32, not filled yet."""
    return torch.empty(whole_blocks(rows), width)[:rows]


def in_blocks(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, width) -> (whole blocks, width), of which the rows added hold anything where ``x`` has
    room for them, and otherwise zeros."""
    rows, width = x.shape
    whole = whole_blocks(rows)
    if x.dtype == dtype and x.is_contiguous():
        end = (x.storage_offset() + whole * width) * x.element_size()
        if end <= x.untyped_storage().nbytes():
            return x.as_strided((whole, width), (width, 1))
    blocks = torch.empty(whole, width, dtype=dtype)
    blocks[:rows] = x
    blocks[rows:] = 0
    return blocks
