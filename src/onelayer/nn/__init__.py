"""The model in PyTorch: the packed batch, the encoder, and the output layer of each task."""
