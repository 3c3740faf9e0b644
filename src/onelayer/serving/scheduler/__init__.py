"""Requests become batches."""
