"""A text, or a pair, gets a label or several."""
