"""What a run does with few pairs: the model learns to keep two texts apart, and compares them."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import onelayer
from onelayer.base.errors import Place, UsageError
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.compare_layer import (
    Outputs,
    Sides,
    compared_width,
    gives_comparison,
    with_compare_layer,
)
from onelayer.checkpoint.read import describe, read_checkpoint
from onelayer.nn.heads import HEADS
from onelayer.nn.packed import pack
from onelayer.recipe import Recipe
from onelayer.tasks import Regress
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import two_texts
from onelayer.training.progress import Silent
from onelayer.training.schedule import method_of, with_schedule
from onelayer.training.two_texts import Taught, kept_apart
from support.tiny_bert import MakeBert

HERE = Place("rows.jsonl")
REGRESS = Regress(max_length=64)
WORDS = ("the", "good", "bad", "cat", "dogs", "a")


def pairs(n: int, tokenizer: Tokenizer, *, second: bool = True) -> Encodings:
    rng = np.random.default_rng(1)

    def text() -> str:
        return " ".join(rng.choice(WORDS, int(rng.integers(1, 6))))

    rows = [TextRow(text(), text() if second else None, float(i), HERE) for i in range(n)]
    return REGRESS.encode(rows, tokenizer, labelled=True)


@pytest.fixture
def base(make_bert: MakeBert) -> Path:
    """A base without pooler, so the mean is what it was pretrained to."""
    return make_bert("BertForMaskedLM")


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, n in (("APART_STEPS", 3), ("COMPARE_STEPS", 2), ("TEXTS", 16), ("PAIRS", 4)):
        monkeypatch.setattr(two_texts, name, n)


def test_added_layer_squares_the_difference_and_multiplies(
    base: Path, tokenizer: Tokenizer
) -> None:
    checkpoint = read_checkpoint(base)
    config = checkpoint.config
    width, half = config.hidden_size, compared_width(config)
    # Token vectors that are given, in place of the encoder's: the first text's are at +1 along the
    # first coordinate, the second's at -1.
    projection = torch.eye(width)[1 : half + 1]
    sides = Sides(torch.eye(width)[0], 0.0, 1.0, projection)
    model = build_model(with_compare_layer(checkpoint, sides), REGRESS).model.eval()
    encodings = pairs(6, tokenizer)
    batch = pack(encodings, np.arange(6))
    generator = torch.Generator().manual_seed(3)
    u, v = torch.randn(2, 6, width, generator=generator)
    u[:, 0], v[:, 0] = 3.0, -3.0  # three times as far, so that no token of the other is read
    tokens = torch.where(batch.segment_ids_T[:, None] == 0, 1.0, 0.0)
    sequence = torch.repeat_interleave(torch.arange(6), batch.cu_seqlens.diff())
    x_TD = tokens * u[sequence] + (1 - tokens) * v[sequence]
    with torch.no_grad():
        found = model.encoder.layers[-1].read(x_TD, replace(batch, reads_R=torch.arange(6)))
    p, q = u @ projection.T, v @ projection.T
    dot = (p * q).sum(dim=1) / (p.square() + q.square()).sum(dim=1)
    out = Outputs.of(config)
    assert np.corrcoef(found[:, out.of_products], dot)[0, 1] > 0.95
    assert not found[:, out.still].any()
    n = out.products.stop - out.products.start
    total = torch.cat([p, q], dim=1).norm(dim=1, keepdim=True)
    for values, wanted in zip(
        found[:, out.values].split(n, dim=1), ((p - q) / total, (p + q) / total), strict=True
    ):
        assert np.corrcoef(values.flatten(), wanted[:, :n].flatten())[0, 1] > 0.95


@pytest.mark.usefixtures("few_steps")
def test_teaching_brings_tokens_closer_to_their_text_read_alone(
    base: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_texts, "APART_STEPS", 20)
    losses = []
    original = two_texts._Student._token_loss

    def watched(*arguments: object) -> torch.Tensor:
        loss = original(*arguments)  # type: ignore[arg-type]
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(two_texts._Student, "_token_loss", watched)
    kept_apart(read_checkpoint(base), pairs(8, tokenizer), "fp32")
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.usefixtures("few_steps")
def test_what_is_compared_stays_where_tanh_is_straight(base: Path, tokenizer: Tokenizer) -> None:
    """The two sums have the widest spread. Bent, they no longer say which of two pairs that are
    very alike is more so."""
    rows = pairs(64, tokenizer)
    taught = kept_apart(read_checkpoint(base), rows, "fp32")
    model = build_model(taught, REGRESS).model.eval()
    with torch.no_grad():
        vectors = model.vectors(pack(rows, np.arange(len(rows))))
    out = Outputs.of(taught.config)
    sums = vectors[:, [out.of_products, out.of_squares]].atanh()
    assert 0.1 < sums.std(dim=0).max() <= 0.51


@pytest.mark.usefixtures("few_steps")
def test_teaching_is_the_same_twice_looks_at_no_label_and_is_done_once(
    base: Path, tokenizer: Tokenizer
) -> None:
    rows, checkpoint = pairs(8, tokenizer), read_checkpoint(base)
    assert rows.targets is not None
    first = kept_apart(checkpoint, rows, "fp32")
    other = kept_apart(checkpoint, replace(rows, targets=rows.targets[::-1].copy()), "fp32")
    assert first.config.num_hidden_layers == checkpoint.config.num_hidden_layers + 1
    for name, tensor in first.encoder.items():
        assert torch.equal(tensor, other.encoder[name]), name
    taught = Taught()
    assert taught.of(checkpoint, rows, "fp32") is taught.of(checkpoint, rows, "fp32")


def test_few_pairs_of_a_sentence_encoder_are_compared(
    base: Path, make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    def read_of(n: int, recipe: Recipe, folder: Path = base, *, second: bool = True) -> str | None:
        encodings = pairs(n, tokenizer, second=second)
        return with_schedule(recipe, HEADS["value"], describe(folder), encodings).read

    recipe = Recipe(task="regress")
    assert gives_comparison(describe(base).config)
    assert read_of(40, recipe) == "both"
    assert (read_of(3999, recipe), read_of(4000, recipe)) == ("both", "cls")
    labelled = with_schedule(recipe, HEADS["label"], describe(base), pairs(500, tokenizer))
    assert labelled.read == "cls"
    assert read_of(40, recipe, second=False) == "mean"
    assert read_of(40, recipe, make_bert()) == "cls"
    assert read_of(40, replace(recipe, epochs=3)) == "cls"
    assert read_of(40, replace(recipe, freeze="encoder")) == "cls"
    for head, read in (("label", "both"), ("labels", "both"), ("option", "cls")):
        found = with_schedule(recipe, HEADS[head], describe(base), pairs(40, tokenizer))
        assert found.read == read, head
    asked = replace(recipe, read="both")
    with pytest.raises(UsageError, match="an option is chosen among others"):
        with_schedule(asked, HEADS["option"], describe(base), pairs(40, tokenizer))
    found = with_schedule(recipe, HEADS["value"], describe(base), pairs(40, tokenizer))
    assert found.epochs == 0
    assert "two texts of a pair apart" in " ".join(method_of(found))
    with pytest.raises(UsageError, match="--freeze encoder keeps"):
        read_of(40, replace(recipe, read="both", freeze="encoder"))
    with pytest.raises(UsageError, match="not every row has two texts"):
        read_of(40, replace(recipe, read="both"), second=False)


def made_rows(n: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(2)
    return [
        {
            "text": " ".join(rng.choice(WORDS, 3)),
            "pair": " ".join(rng.choice(WORDS, 4)),
            "label": float(i % 7),
        }
        for i in range(n)
    ]


@pytest.mark.usefixtures("few_steps")
def test_run_of_few_pairs_is_scored_by_folds_repeats_its_bytes_and_opens_with_transformers(
    base: Path, tmp_path: Path
) -> None:
    rows = made_rows(24)
    options = {"task": "regress", "model": str(base), "precision": "fp32"}
    first = onelayer.finetune(rows, out=tmp_path / "one", **options)
    onelayer.finetune(rows, out=tmp_path / "two", **options)
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert first.record is not None
    assert (first.record.recipe["read"], first.record.recipe["epochs"]) == ("both", 0)
    assert first.record.dev is not None
    assert first.record.dev.folds == 4
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "one")
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "one")
    sequence = tokens(rows[0]["text"], rows[0]["pair"], return_tensors="pt")
    with torch.no_grad():
        wanted = float(theirs.eval()(**sequence).logits[0, 0])
    (found,) = first.predict([(rows[0]["text"], rows[0]["pair"])])
    assert found.value == pytest.approx(wanted, abs=1e-4)


class StopsAtFold(Silent):
    """Sends this process a signal when the third fold begins."""

    def start(self, total_steps: int, part: str) -> None:
        if part == "fold 3 of 4":
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("few_steps")
def test_run_of_few_pairs_resumes_bit_for_bit(base: Path, tmp_path: Path) -> None:
    rows = made_rows(24)
    options = {"task": "regress", "model": str(base), "precision": "fp32"}
    onelayer.finetune(rows, out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        onelayer.finetune(rows, out=tmp_path / "stopped", reporter=StopsAtFold(), **options)
    assert not (tmp_path / "stopped" / "config.json").exists()
    onelayer.finetune(rows, out=tmp_path / "stopped", **options)
    for name in ("model.safetensors", "onelayer.json", "cross_validation.safetensors"):
        whole, stopped = ((tmp_path / run / name).read_bytes() for run in ("whole", "stopped"))
        assert whole == stopped, name


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_pairs_give_a_model(n: int, base: Path, tmp_path: Path) -> None:
    rows = [{**row, "label": "ab"[i]} for i, row in enumerate(made_rows(2))]
    rows += [{**rows[0], "text": "the cat the cat"}] * (n - 1)
    options = {"task": "classify", "model": str(base), "precision": "fp32", "read": "both"}
    found = onelayer.finetune(rows, out=tmp_path / "run", **options)
    (prediction,) = found.predict([("the good cat", "a bad cat")])
    assert all(np.isfinite(list(prediction.probabilities.values())))
