"""Errors, files, digests, JSON and the machine: what every room uses."""
