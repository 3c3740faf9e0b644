"""Formats of files: each has a reader here, and an entry in ``data/readers.py``."""
