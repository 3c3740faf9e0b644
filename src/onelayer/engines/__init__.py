"""The engines that run a model: torch, ONNX Runtime, OpenVINO, and our own in C."""
