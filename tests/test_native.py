"""The native int8 engine: its weights, its arithmetic, and what it promises."""

from __future__ import annotations

import numpy as np

from onelayer.runtime.native.weights import quantized


def test_weights_are_within_half_a_step_of_what_they_were() -> None:
    random = np.random.default_rng(0)
    up = "encoder.layers.11.feed_forward.up"
    state = {
        "encoder.embeddings.word.weight": random.normal(size=(5, 16)).astype(np.float32),
        f"{up}.weight": random.normal(size=(32, 16)).astype(np.float32),
        f"{up}.bias": random.normal(size=32).astype(np.float32),
        "pooler.weight": random.normal(size=(16, 16)).astype(np.float32),
    }
    state[f"{up}.weight"][3] = 0  # a row that pruning emptied
    int8 = quantized(state)
    assert int8[f"{up}.weight"].dtype == int8["encoder.embeddings.word.weight"].dtype == np.int8
    for name, axis in ((up, 1), ("encoder.embeddings.word", 0)):
        steps = int8[f"{name}.weight"].T if axis else int8[f"{name}.weight"]
        error = np.abs(state[f"{name}.weight"] - steps * int8[f"{name}.scale"][:, None])
        assert (error <= int8[f"{name}.scale"][:, None] * 0.5001).all()
        assert np.abs(steps).max() == 127
    assert int8[f"{up}.weight"].flags.c_contiguous
    for name in (f"{up}.bias", "pooler.weight"):
        np.testing.assert_array_equal(int8[name], state[name])
