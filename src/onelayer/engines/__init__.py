"""What runs an encoder: torch, ONNX Runtime, OpenVINO, and our own in C."""
