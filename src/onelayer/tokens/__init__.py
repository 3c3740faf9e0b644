"""Tokenization: texts to token ids with character offsets, and to batches without padding. No torch
here."""
