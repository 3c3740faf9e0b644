"""Texts become token ids with character offsets, and batches without padding. No torch here."""
