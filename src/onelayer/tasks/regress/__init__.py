"""A text, or a pair, gets a number."""
