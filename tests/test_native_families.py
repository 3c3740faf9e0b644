"""The native int8 engine computes every family whose bricks it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onelayer.checkpoint.config import EncoderConfig, read_config
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.family import Family
from onelayer.engines.native.library import instruction_sets
from onelayer.engines.native.native_engine import NativeEngine, why_not_native
from onelayer.engines.native.packed_weights import quantized
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.export import export_run
from onelayer.prediction.load import load
from support.graphs import state_of
from support.int8_oracle import assert_near, exact_logits
from support.oracle import encodings_for, pair_of
from support.tiny_bert import MakeBert

COMPUTED = [
    *("bert", "roberta", "xlm-roberta", "camembert"),
    *("distilbert", "electra", "mpnet", "albert"),
]
BERT = EncoderConfig(
    model_type="bert",
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
)

pytestmark = pytest.mark.skipif(
    why_not_native(BERT) is not None, reason=why_not_native(BERT) or "the engine is there"
)


@pytest.fixture(params=COMPUTED)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def test_every_instruction_set_gives_a_familys_same_bits(
    family: Family, make_bert: MakeBert, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pair_of(family, "tags", make_bert)
    config, _ = read_config(Path(pair.theirs.name_or_path))
    encodings, int8 = encodings_for(family, "tags"), quantized(state_of(pair.ours))
    expected = NativeEngine(int8, config, threads=1).logits(encodings)
    for name in instruction_sets():
        monkeypatch.setenv("ONELAYER_INSTRUCTIONS", name)
        for threads in (1, 3):
            found = NativeEngine(int8, config, threads=threads).logits(encodings)
            np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("head", ["label", "tags", "span", "option"])
def test_logits_of_every_family_equal_the_double_precision_reference(
    family: Family, head: str, make_bert: MakeBert
) -> None:
    pair = pair_of(family, head, make_bert)
    config, data = read_config(Path(pair.theirs.name_or_path))
    pooler_shape = family.classes[data["architectures"][0]].pooler_shape
    encodings, int8 = encodings_for(family, head), quantized(state_of(pair.ours))
    found = [NativeEngine(int8, config, pooler_shape, threads=t).logits(encodings) for t in (1, 3)]
    assert_near(found[0], exact_logits(int8, config, encodings, pooler_shape))
    np.testing.assert_array_equal(*found)
    exact = TorchEngine(pair.ours).logits(encodings)
    assert np.abs(found[0] - exact).mean() < 0.1 * exact.std()


def test_bias_for_distances_counts_up_to_the_longest_text(make_bert: MakeBert) -> None:
    """Other distances than in the short texts above, and tables that end where the texts do."""
    family = FAMILIES["mpnet"]
    pair = pair_of(family, "tags", make_bert, max_position_embeddings=200)
    config, _ = read_config(Path(pair.theirs.name_or_path))
    encodings = encodings_for(family, "tags", lengths=[198, 2, 17, 197, 130])
    int8 = quantized(state_of(pair.ours))
    assert_near(
        NativeEngine(int8, config, threads=1).logits(encodings),
        exact_logits(int8, config, encodings),
        equal=0.0,
    )


def test_embeddings_of_an_odd_width_are_refused() -> None:
    electra = replace(BERT, model_type="electra", own={"embedding_size": 20})
    assert why_not_native(electra) == "its embeddings are not a multiple of 16 wide"


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["distilbert", "electra", "mpnet"])
def test_bundle_of_a_family_passes_its_checks_in_every_engine(
    model_type: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    family = FAMILIES[model_type]
    run = make_bert(family.class_for("SequenceClassification"), labels=("no", "yes"))
    rows = tmp_path / "dev.csv"
    texts = ["a good cat", "the bad cats of the town", "x", "good, bad or good"]
    rows.write_text("text,label\n" + "".join(f'"{text}",yes\n' for text in texts * 5))
    for int8 in (False, True):
        out = tmp_path / f"bundle-{int8}"
        found = export_run(run, out=out, int8=int8, dev=rows, max_drop=20.0).found
        assert found.refused == ()
        assert ("native" in found.engines) == int8
        for engine in found.engines:
            labels = [row.label for row in load(out, engine).predict(texts)]
            assert int8 or labels == [row.label for row in load(run).predict(texts)]
