"""Each word of a text gets a label."""
