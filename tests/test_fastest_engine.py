"""Choosing a bundle's engine: the first one, unless another is clearly faster on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from onelayer.checkpoint.bundle import Bundle
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.export_record import ExportRecord, ModelBytes
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.layout import Layout
from onelayer.engines import fastest
from onelayer.engines.fastest import (
    LEAST_TOKENS,
    MOST_TOKENS,
    Cost,
    clearly_fastest,
    fastest_engine,
    measured_costs,
    random_encodings,
)
from onelayer.tasks import Classify
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

CONFIG = EncoderConfig(
    model_type="bert",
    vocab_size=50,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=32,
)
LARGE = replace(CONFIG, hidden_size=1024, num_hidden_layers=24, max_position_embeddings=512)


@dataclass
class RecordingEngine:
    """An engine that only records its calls."""

    name: str
    asked: list[str]

    def logits(self, encodings: Encodings) -> Logits:
        self.asked.append(self.name)
        return np.zeros((len(encodings.reads), 2), dtype=np.float32)


TASK = Classify(labels=("a", "b"), max_length=32, multi_label=False)
EXPORT = ExportRecord(
    to="onnx",
    precision="int8",
    activations="static",
    why=None,
    sha256="1",
    rows=0,
    file="dev",
    engines={},
    bytes=ModelBytes(run=0, bundle=0),
    refused=(),
    max_drop=1.0,
    machine="",
    versions={},
)


def maker(name: str) -> Callable[[Bundle], RecordingEngine]:
    return lambda _: RecordingEngine(name, [])


@pytest.fixture
def bundle(make_bert: Callable[..., Path]) -> Bundle:
    folder = make_bert()
    return Bundle(
        folder=folder,
        config=CONFIG,
        architecture=CONFIG.family.encoder_class,
        task=TASK,
        layout=Layout({}),
        tokenizer=Tokenizer.read(folder),
        record=ModelRecord(task=TASK, layout=Layout({}), export=EXPORT),
        export=EXPORT,
        graph=folder,
        tensors={},
    )


@pytest.mark.parametrize(
    ("costs", "chosen"),
    [
        ({"native": Cost(1.0, 1.0), "onnxruntime": Cost(2.0, 2.0)}, "native"),
        ({"native": Cost(1.0, 1.0), "onnxruntime": Cost(0.95, 0.5)}, "native"),
        ({"native": Cost(1.0, 1.0), "onnxruntime": Cost(0.9, 0.9)}, "onnxruntime"),
        ({"native": Cost(9.0, 1.0), "onnxruntime": Cost(2.0, 2.0)}, "native"),
        (
            {
                "native": Cost(1.0, 1.0),
                "onnxruntime": Cost(0.8, 0.6),
                "openvino": Cost(0.7, 0.8),
            },
            "openvino",
        ),
        ({"native": Cost(1.0, 1.0)}, "native"),
    ],
)
def test_first_engine_is_kept_unless_another_is_clearly_faster_without_more_cpu(
    costs: dict[str, Cost], chosen: str
) -> None:
    assert clearly_fastest(costs) == chosen


def test_engines_are_measured_in_turns_after_a_warm_up() -> None:
    asked: list[str] = []
    costs = measured_costs(
        {name: RecordingEngine(name, asked) for name in "ab"},
        random_encodings(CONFIG, all_reads=False),
    )
    assert asked == ["a", "b"] * (fastest.ROUNDS + 1)
    assert all(0 < cost.seconds < np.inf > cost.cpu_seconds >= 0 for cost in costs.values())


@pytest.mark.parametrize("config", [CONFIG, LARGE])
@pytest.mark.parametrize("all_reads", [False, True])
def test_measured_sample_is_ragged_and_fits_the_model(
    config: EncoderConfig, all_reads: bool
) -> None:
    it = random_encodings(config, all_reads=all_reads)
    assert 1 <= it.lengths.min() < it.lengths.max() <= config.max_position_embeddings
    assert 0 <= it.ids.min() <= it.ids.max() < config.vocab_size
    assert LEAST_TOKENS / 3 < len(it.ids) < 3 * MOST_TOKENS
    assert it.cu_seqlens[-1] == len(it.ids) == len(it.segment_ids)
    assert it.cu_reads[-1] == len(it.reads) == (len(it.ids) if all_reads else len(it))
    assert (it.reads < np.repeat(it.lengths, np.diff(it.cu_reads))).all()


def test_large_models_are_measured_on_fewer_tokens() -> None:
    assert (
        len(random_encodings(LARGE, all_reads=False).ids)
        < len(random_encodings(CONFIG, all_reads=False).ids) / 3
    )


def test_choice_is_measured_once_for_each_bundle(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"native": 3.0, "onnxruntime": 1.0}
    measured: list[float] = []

    def noted(engines: object, encodings: object) -> dict[str, Cost]:
        measured.append(seconds["native"])
        return {name: Cost(one, one) for name, one in seconds.items()}

    monkeypatch.setattr(fastest, "measured_costs", noted)
    makes = {name: maker(name) for name in seconds}
    assert fastest_engine(bundle, makes).name == "onnxruntime"
    seconds["native"] = 0.5  # on a quieter machine the stored choice is still used
    assert fastest_engine(bundle, makes).name == "onnxruntime"
    assert measured == [3.0]
    other = replace(bundle, export=replace(EXPORT, sha256="2"))
    assert fastest_engine(other, makes).name == "native"
    assert measured == [3.0, 0.5]


def test_single_engine_is_not_measured(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest, "measured_costs", None)
    assert fastest_engine(bundle, {"onnxruntime": maker("onnxruntime")}).name == "onnxruntime"
