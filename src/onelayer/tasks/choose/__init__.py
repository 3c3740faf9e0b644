"""One of several options is right."""
