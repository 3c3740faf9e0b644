"""One model that is trained on some rows of a plan and gives logits for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onelayer.base.errors import Place
from onelayer.recipe import Recipe
from onelayer.tasks import Classify, Regress
from onelayer.tasks.texts import TextRow
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import fit
from onelayer.training.fit import DivergedError, Fit, held_out_logits
from onelayer.training.plan import Plan
from onelayer.training.progress import Silent
from support.tiny_bert import MakeBert
from support.trainers import plan_of

HERE = Place("rows.jsonl")
CLASSIFY = Classify(labels=("bad", "good"), max_length=64)
REGRESS = Regress(mean=50.0, deviation=10.0, max_length=64)
RECIPE = Recipe(epochs=3, lr=5e-3, batch_size=4, seed=3, precision="fp32")


def plan_for(
    task: Classify | Regress, folder: Path, tokenizer: Tokenizer, recipe: Recipe = RECIPE
) -> Plan:
    """A plan with twelve rows in memory: texts of one word or another, with two labels."""
    labels = ("bad", "good") if task is CLASSIFY else (40.0, 60.0)
    words = ("京 bad", "good good")
    rows = [TextRow(f"{words[i % 2]} {i}", None, labels[i % 2], HERE) for i in range(12)]
    plan = plan_of(folder, task, task.encode(rows, tokenizer, labelled=True), recipe)
    return replace(plan, data=replace(plan.data, rows=rows, folds=np.arange(12) % 3))


def test_held_out_logits_are_those_of_a_fit_on_the_other_rows(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    plan = plan_for(CLASSIFY, make_bert(), tokenizer)
    learned, held_out = np.arange(8), np.arange(8, 12)
    found = held_out_logits(plan, learned, held_out, Silent())
    by_hand = Fit(plan.on_rows(learned))
    for _ in range(3 * 2):  # three epochs of two batches
        by_hand.train_step()
    assert by_hand.is_trained
    by_hand.check_weights()
    rest = plan.data.on_rows(held_out)
    np.testing.assert_array_equal(found, by_hand.logits(rest.rows, rest.encodings))
    assert found.shape == (4, 2)


def test_held_out_rows_change_nothing_in_the_fit(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    plan = plan_for(CLASSIFY, make_bert(), tokenizer)
    alone = held_out_logits(plan, np.arange(8), np.array([9]), Silent())
    together = held_out_logits(plan, np.arange(8), np.array([9, 10, 11]), Silent())
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)


def test_held_out_numbers_are_in_the_unit_of_the_labels(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    plan = plan_for(REGRESS, make_bert(), tokenizer, replace(RECIPE, epochs=20))
    held_out = np.array([10, 11])
    logits = held_out_logits(plan, np.arange(10), held_out, Silent())
    rest = plan.data.on_rows(held_out)
    low, high = REGRESS.without_unit().decode(rest.rows, rest.encodings, logits)
    assert (low.value, high.value) == pytest.approx((40, 60), abs=5)


def test_class_weights_are_those_of_the_learned_rows(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    plan = plan_for(CLASSIFY, make_bert(), tokenizer, replace(RECIPE, class_weights=True))
    some = plan.on_rows(np.array([0, 1, 3, 5]))
    assert some.class_weights is not None
    assert some.class_weights.tolist() == pytest.approx([4 / 2, 4 / 6])


def test_fit_that_learns_only_frequencies_is_made_with_another_seed(
    make_bert: MakeBert, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "MIN_STEPS_BEFORE_RESTART", 0)
    seeds = []

    class Spied(Fit):
        def is_stuck(self) -> bool:
            seeds.append(self.seed)
            return len(seeds) < 2

    monkeypatch.setattr(fit, "Fit", Spied)
    held_out_logits(
        plan_for(CLASSIFY, make_bert(), tokenizer), np.arange(8), np.arange(8, 12), Silent()
    )
    assert seeds == [3, 1003]


def test_diverged_fit_is_named_in_one_line(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    plan = plan_for(CLASSIFY, make_bert(), tokenizer, replace(RECIPE, lr=1e30))
    with pytest.raises(
        DivergedError, match=r"^training diverged: the .*lower --lr, which is 1e\+30"
    ):
        held_out_logits(plan, np.arange(8), np.arange(8, 12), Silent())
