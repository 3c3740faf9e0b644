"""Files that must be refused, kept as the code that makes them. ``CASES`` are all of them."""

from support.hostile import checkpoints, tables, tokenizing

CASES = [*checkpoints.CASES, *tokenizing.CASES, *tables.CASES]
