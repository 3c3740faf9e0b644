"""The model: a packed batch, the encoder, the one layer of each task."""
