"""Matrices with room for whole blocks of rows.

oneDNN compiles a product for each number of rows and keeps the code: 10 ms and 5 MB for a small
BERT, and packed batches hardly ever have the same number of tokens twice. So products are computed
on whole blocks of rows. Kernels write into matrices that have room after their last row, which
saves a copy; results for the rows in that room are never read.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32
"""Rows of a block. On average half a block is computed for nothing: 2 % of 800 tokens. A larger
block wastes more, a smaller one makes oneDNN compile more often."""


def whole_blocks(rows: int) -> int:
    """``rows`` rounded up to whole blocks."""
    return -(-rows // BLOCK) * BLOCK


def roomy(rows: int, width: int) -> Tensor:
    """An uninitialised (rows, width) fp32 matrix, with room after its last row for whole blocks."""
    return torch.empty(whole_blocks(rows), width)[:rows]


def in_blocks(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, width) -> (whole blocks, width). If ``x`` has room after its last row, nothing is
    copied and the added rows hold any values; otherwise they are zeros."""
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
