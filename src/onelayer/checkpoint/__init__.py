"""Reads and writes Hugging Face model directories: checkpoints, runs and bundles."""
