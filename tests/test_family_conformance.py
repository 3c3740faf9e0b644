"""Every encoder family fine-tunes every task, in the directory layout in which it is published, and
transformers opens what comes out; exported, it gives the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import onelayer
from onelayer.checkpoint.families import FAMILIES
from onelayer.prediction.load import load
from support.oracle import SHAPES
from support.predictions import assert_same_predictions
from support.task_cases import CASES, LONG
from support.their_answers import assert_transformers_agrees
from support.tiny_bert import VOCABULARY, write_bert
from support.tiny_tokenizers import TINY

pytestmark = pytest.mark.slow

TOKENIZERS = {one.model_type: one for one in TINY.values()}
TASKS = ("classify pairs", "regress", "tag IOB2", "answer", "choose")


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family's encoder with its own tokenizer, as transformers saves them."""
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp(family.model_type)
    size = len(VOCABULARY)
    tiny = TOKENIZERS.get(family.model_type)
    if tiny is not None:
        tiny.write(folder)
        size = tiny.make().get_vocab_size()
    changes = {"vocab_size": size, "max_position_embeddings": 96}
    write_bert(folder, family.encoder_class, (), **SHAPES.get(family.model_type, {}) | changes)
    if tiny is not None:
        (folder / "vocab.txt").unlink()
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_family_learns_a_task(name: str, published: Path, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    choices = {"epochs": 1, "lr": 0.01, "batch_size": 8, "folds": 0, "max_length": 64}
    choices |= LONG.get(case.task, {}) | case.choices
    predictor = onelayer.finetune(
        case.write(tmp_path), model=str(published), out=tmp_path / "run", **choices
    )
    answers = predictor.predict(case.inputs)
    assert all(isinstance(answer, case.prediction) for answer in answers)
    assert_transformers_agrees(predictor, case)
    assert_same_predictions(load(tmp_path / "run").predict(case.inputs), answers)


def test_family_is_exported(published: Path, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "classify pairs")
    run = onelayer.finetune(
        case.write(tmp_path), model=str(published), out=tmp_path / "run", epochs=1, folds=0
    )
    onelayer.export(tmp_path / "run", out=tmp_path / "bundle", accept=True)
    bundle = load(tmp_path / "bundle")
    assert_same_predictions(bundle.predict(case.inputs), run.predict(case.inputs))


def test_family_is_exported_with_a_trimmed_vocabulary(published: Path, tmp_path: Path) -> None:
    """The gate passes: the bundle answers the dev rows as the run does, under other ids."""
    case = next(case for case in CASES if case.name == "classify pairs")
    run = onelayer.finetune(
        case.write(tmp_path), model=str(published), out=tmp_path / "run", epochs=1, folds=0
    )
    onelayer.export(tmp_path / "run", out=tmp_path / "bundle", trim_vocabulary=True)
    bundle = load(tmp_path / "bundle")
    assert bundle.tokenizer.vocab_size < run.tokenizer.vocab_size
    assert len(bundle.predict(case.inputs)) == len(case.inputs)
