"""Matrices with room for whole blocks of rows.

oneDNN compiles a product for its exact number of rows and keeps it: 10 ms and 5 MB for a small
BERT, while packed batches hardly ever have the same number of tokens twice. So products are
computed for whole blocks of rows. A kernel writes into a matrix with room behind its last row, so
that nothing has to be copied for that; what stands in that room is never read.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32
"""Rows of a block. On average half a block is multiplied in vain: 2 % of 800 tokens."""


def whole_blocks(rows: int) -> int:
    return -(-rows // BLOCK) * BLOCK


def roomy(rows: int, width: int) -> Tensor:
    """(rows, width) fp32, uninitialised, with room for a whole block behind the last row."""
    return torch.empty(whole_blocks(rows), width)[:rows]


def in_blocks(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, width) -> (whole blocks, width). Without a copy where ``x`` has room behind its last
    row: the added rows then hold anything; otherwise they are zeros."""
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
