"""Smaller models that learn from a trained one, and what each of them costs."""
