"""Graphs of every encoder family give the logits of torch and of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from onelayer.checkpoint.bundle_weights import check_slices, read_slices
from onelayer.checkpoint.config import EncoderConfig, read_config
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.onnx_file import check_graph
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.calibrate import ranges
from onelayer.exporting.products import Calibrated, Product, by_token, in_float
from onelayer.tokens.encodings import Encodings
from support.graphs import WEIGHTS, state_of, write_graph
from support.oracle import Pair, encodings_for, pair_of
from support.tiny_bert import MakeBert

ASKED = ["label", "tags", "span", "option"]


@dataclass
class Case:
    """A model of a family, and encodings for it."""

    pair: Pair
    config: EncoderConfig
    architecture: str
    state: dict[str, NDArray[Any]]
    encodings: Encodings
    expected: NDArray[np.float32]
    """Our logits in torch."""

    def graph(self, folder: Path, product: Product) -> Path:
        """Writes the graph, and checks it as a server does."""
        graph = write_graph(folder, self.state, self.config, self.architecture, product)
        slices = read_slices(folder / WEIGHTS)
        check_graph(graph, WEIGHTS, slices)
        precision = "fp32" if product is in_float else "int8"
        outputs = len(self.state["head.bias"])
        check_slices(folder / WEIGHTS, slices, self.config, outputs, precision)
        return graph


def case_of(family: Family, head: str, make_bert: MakeBert, **changes: object) -> Case:
    pair = pair_of(family, head, make_bert, **changes)
    config, data = read_config(Path(pair.theirs.name_or_path))
    encodings = encodings_for(family, head)
    return Case(
        pair=pair,
        config=config,
        architecture=data["architectures"][0],
        state=state_of(pair.ours),
        encodings=encodings,
        expected=TorchEngine(pair.ours).logits(encodings),
    )


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.mark.parametrize("head", ASKED)
def test_graph_of_every_family_gives_torchs_logits(
    family: Family, head: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    case = case_of(family, head, make_bert)
    found = OnnxEngine(case.graph(tmp_path, in_float), threads=1).logits(case.encodings)
    assert np.ptp(case.expected) > 0.1
    np.testing.assert_allclose(found, case.expected, atol=1e-5)


@pytest.mark.parametrize("head", ASKED)
def test_int8_graphs_of_every_family_are_near_torch(
    family: Family, head: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    case = case_of(family, head, make_bert)
    found = ranges(case.state, case.config, case.architecture, case.encodings)
    for product in (by_token, Calibrated(found)):
        logits = OnnxEngine(case.graph(tmp_path, product), threads=1).logits(case.encodings)
        apart = np.abs(logits - case.expected)
        assert 0 < apart.max() < 0.1 * np.abs(case.expected).max() + 0.05


@pytest.mark.parametrize("head", ["tags", "span"])
def test_padding_on_the_left_gives_transformers_logits(
    family: Family, head: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    """Families differ in whether they count places or tokens for the positions."""
    case = case_of(family, head, make_bert)
    session = onnxruntime.InferenceSession(case.graph(tmp_path, in_float))
    mask = np.arange(30) >= 30 - np.array([9, 3, 17])[:, None]
    ids = np.random.default_rng(0).integers(5, 60, mask.shape)
    padding = case.config.pad_token_id
    every = {
        "input_ids": np.where(mask, ids, padding),
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": np.zeros(mask.shape, dtype=np.int64),
    }
    given = {one.name: every[one.name] for one in session.get_inputs()}
    with torch.no_grad():
        expected = case.pair.theirs(
            **{name: torch.from_numpy(array) for name, array in given.items()}
        )
    names = [one.name for one in session.get_outputs()]
    for name, found in zip(names, session.run(None, given), strict=True):
        np.testing.assert_allclose(found[mask], expected[name].numpy()[mask], atol=2e-5)


@pytest.mark.parametrize("head", ASKED)
def test_openvino_gives_the_logits_of_every_family(
    family: Family, head: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    from onelayer.engines.openvino_engine import OpenVinoEngine

    case = case_of(family, head, make_bert)
    found = OpenVinoEngine(case.graph(tmp_path, in_float), threads=1).logits(case.encodings)
    np.testing.assert_allclose(found, case.expected, atol=2e-5)


def test_only_models_with_two_segments_have_an_input_for_them(
    family: Family, make_bert: MakeBert, tmp_path: Path
) -> None:
    case = case_of(family, "label", make_bert)
    session = onnxruntime.InferenceSession(case.graph(tmp_path, in_float))
    names = [one.name for one in session.get_inputs()]
    assert ("token_type_ids" in names) == (case.config.type_vocab_size > 1)


def test_shared_layers_are_in_the_file_once(make_bert: MakeBert, tmp_path: Path) -> None:
    case = case_of(FAMILIES["albert"], "label", make_bert)
    case.graph(tmp_path, in_float)
    names = [name for name in read_slices(tmp_path / WEIGHTS) if name.endswith("qkv.weight")]
    assert names == ["encoder.layers.0.attention.qkv.weight"]
    assert case.config.num_hidden_layers == 3
