"""Labelled files become records. No torch here."""
