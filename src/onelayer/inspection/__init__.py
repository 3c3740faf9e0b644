"""A look at a file: what is in it, repeated texts, probable label errors."""
