"""Reads labelled files as records. No torch here."""
