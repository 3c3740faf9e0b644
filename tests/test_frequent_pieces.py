"""Smaller models learn from the pieces that their texts use often."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import onelayer
from onelayer.checkpoint.read import read_checkpoint
from onelayer.data.rows import Rows
from onelayer.exporting.dev_rows import rows_of_run
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.shrinking import frequent_pieces as module
from onelayer.shrinking.frequent_pieces import frequent_pieces
from onelayer.shrinking.lesson_texts import LessonTexts, RunAnswers
from onelayer.tokens.encodings import Encodings
from onelayer.training.lessons import answers_to
from support.task_cases import CASES, LONG


def trained(name: str, bert: Path, folder: Path) -> tuple[Predictor, Rows]:
    case = next(case for case in CASES if case.name == name)
    choices = {"epochs": 1, "batch_size": 8, "folds": 0, "max_length": 64, "practice": 0.0}
    choices |= LONG.get(case.task, {}) | case.choices
    run = onelayer.finetune(case.write(folder), model=str(bert), out=folder / "run", **choices)
    rows = rows_of_run(run, None, None, Columns(), lambda _: None, apart=True)
    assert rows.train is not None
    return run, rows.train


def words_of(run: Predictor, encodings: Encodings) -> list[str]:
    """The text of each sequence, without marks of where pieces begin."""
    names = {i: piece for piece, i in run.tokenizer.to_json()["model"]["vocab"].items()}
    pieces = [names[i].removeprefix("##") for i in encodings.ids.tolist()]
    return ["".join(pieces[a:b]) for a, b in pairwise(encodings.cu_seqlens.tolist())]


@pytest.mark.parametrize("name", ["classify", "answer"])
def test_rare_pieces_are_not_learned_where_no_answer_belongs_to_them(
    name: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rows = trained(name, bert, tmp_path)
    of_rows = answers_to(run, rows, run.engine, max_tokens=10**9)
    none = answers_to(run, [], run.engine, max_tokens=1)
    answers = RunAnswers(of_rows, none, none)
    assert run.path is not None
    checkpoint, counts = read_checkpoint(run.path), answers.counts()
    special = set(run.tokenizer.special_ids)
    pieces = run.tokenizer.to_json()["model"]["vocab"]
    longer = {i for piece, i in pieces.items() if len(piece) > 3}
    texts = LessonTexts.of(run, rows, ())
    for least in (1, len(of_rows) // 2):
        monkeypatch.setattr(module, "MIN_COUNT", least)
        vocabulary = frequent_pieces(run, checkpoint, rows, answers)
        kept = set(vocabulary.kept.tolist())
        wanted = set(np.flatnonzero(counts >= (1 if name == "answer" else least)).tolist())
        assert kept & longer - special == wanted & longer - special
        assert special <= kept
        lessons = texts.cut_finer(run.task, vocabulary, answers)
        assert set(lessons.rows.ids.tolist()) <= kept
        assert len(lessons.rows.ids) >= len(of_rows.ids)
        assert words_of(run, lessons.rows) == words_of(run, of_rows)
