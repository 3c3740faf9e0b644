"""Without --model, the language of the texts decides between the starter and multilingual."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import onelayer
from onelayer.base.errors import CheckpointError
from onelayer.base.wording import silent
from onelayer.checkpoint import default_model
from onelayer.checkpoint.default_model import model_for
from onelayer.checkpoint.named_models import NAMED_MODELS
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import first_texts, open_labelled
from onelayer.tokens.coverage import FOREIGN, coverage
from onelayer.tokens.tokenizer import Tokenizer

FOREIGN_TEXTS = ["ĝis revido mia amiko", "pri io", "bonan tagon al ĉiuj"]
OWN_TEXTS = ["the good cat", "the bad cat 😍😍", "the cat 2024 !!! 👎"]


@pytest.fixture
def models(bert: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path | None]:
    """Where the named models are; None for one that isn't on this machine. The tiny BERT stands
    for the starter: it has a few English words whole, and spells all others."""
    places: dict[str, Path | None] = {"starter": bert, "multilingual": bert}

    def resolve(name: str) -> Path:
        if (place := places[name]) is None:
            hint = NAMED_MODELS[name].install
            raise CheckpointError(f"{name} isn't on this machine", hint=hint)
        return place

    monkeypatch.setattr(default_model, "resolve", resolve)
    monkeypatch.setattr(default_model, "place_of", lambda model: places[model.name])
    return places


def chosen(texts: list[str], model: str | None = None) -> tuple[str, list[str]]:
    said: list[str] = []
    return model_for(model, lambda: texts, said.append), said


def test_texts_that_the_starter_reads_get_it_without_a_word(models: dict[str, Path]) -> None:
    assert chosen(OWN_TEXTS) == ("starter", [])
    assert chosen([]) == ("starter", [])
    assert chosen(["", "😀 123 …"]) == ("starter", [])


def test_other_texts_get_multilingual_and_the_reason_is_said(models: dict[str, Path]) -> None:
    model, (said,) = chosen(FOREIGN_TEXTS)
    assert model == "multilingual"
    assert said.startswith("model = multilingual, because the English starter's vocabulary lacks")
    assert "--model NAME" in said


def test_named_model_is_taken_and_no_text_is_read(models: dict[str, Path]) -> None:
    def fail() -> list[str]:
        raise AssertionError("read")

    assert model_for("runs/mine", fail, silent) == "runs/mine"


def test_without_multilingual_the_starter_stays_and_the_command_is_said(
    models: dict[str, Path | None],
) -> None:
    models["multilingual"] = None
    model, (said,) = chosen(FOREIGN_TEXTS)
    assert model == "starter"
    assert "pip install 'onelayer[multilingual]'" in said


@pytest.mark.parametrize("texts", [FOREIGN_TEXTS, OWN_TEXTS], ids=["foreign", "english"])
def test_multilingual_is_enough_where_the_starter_is_not_installed(
    models: dict[str, Path | None], texts: list[str]
) -> None:
    models["starter"] = None
    model, (said,) = chosen(texts)
    assert model == "multilingual"
    assert "starter isn't on this machine (onelayer models --fetch starter)" in said


def test_with_neither_the_one_that_reads_the_texts_is_asked_for(
    models: dict[str, Path | None],
) -> None:
    models.update(starter=None, multilingual=None)
    assert chosen(OWN_TEXTS) == ("starter", [])
    assert chosen([]) == ("starter", [])
    assert chosen(["Ça coûte cher, où est l'hôtel ?"]) == ("starter", [])
    assert chosen(["房间很大, wifi 也快", "不好"]) == ("multilingual", [])


def test_damaged_starter_is_told_when_it_is_opened(
    models: dict[str, Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    models["starter"] = None
    monkeypatch.setattr(default_model, "place_of", lambda _: Path("somewhere"))
    assert chosen(FOREIGN_TEXTS) == ("starter", [])


def test_sample_is_of_the_first_rows_whatever_their_labels(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = [["text", "label"], ["a cat", "yes"], ["", "no"], ["北京", ""], ["x", "no"]]
        csv.writer(out).writerows(rows)
    kind, layout, table = open_labelled(file, Recipe(), silent)
    assert first_texts(kind, layout, table, 100) == ["a cat", "", "北京", "x"]
    assert first_texts(kind, layout, table, 1) == ["a cat"]


def test_emoji_and_numbers_make_no_text_foreign(tokenizer: Tokenizer) -> None:
    assert coverage(tokenizer, ["the cat 😍 😍 😍 123 456"]).cut == 0.0
    assert coverage(tokenizer, FOREIGN_TEXTS).cut > FOREIGN


def test_inspect_counts_the_tokens_of_the_model_that_training_takes(
    models: dict[str, Path], bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.inspection.inspect.resolve", lambda name: bert)
    file = tmp_path / "rows.jsonl"
    lines = [f'{{"text": "{text}", "label": "{i % 2}"}}' for i, text in enumerate(FOREIGN_TEXTS)]
    file.write_text("\n".join(lines), encoding="utf-8")
    found = onelayer.inspect(file)
    assert any("model = multilingual" in remark for remark in found.remarks)
