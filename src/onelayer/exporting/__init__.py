"""Exports a run as a bundle, which runs without torch, and checks that both answer the same."""
