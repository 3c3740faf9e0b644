"""Choosing doubtful rows that differ, and how doubtful rows are."""

from __future__ import annotations

import numpy as np
import pytest

from onelayer.labelling.diverse_rows import choose_rows, joined_features
from onelayer.tasks.uncertainty import uncertain_label, uncertain_labels


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_rows_come_from_each_cluster() -> None:
    centres = np.eye(4) * 10
    x = np.repeat(centres, 25, axis=0) + rng().normal(size=(100, 4)) * 0.1
    chosen = choose_rows(np.ones(100), x, 4, rng())
    assert sorted(chosen // 25) == [0, 1, 2, 3]


def test_certain_rows_are_not_chosen() -> None:
    doubt = np.r_[np.zeros(500), np.ones(40)]
    x = rng().normal(size=(540, 3))
    x[:500] *= 100  # far away from each other, and certain
    chosen = choose_rows(doubt, x, 2, rng())
    assert (chosen >= 500).all()


def test_all_rows_are_chosen_where_there_are_no_more() -> None:
    doubt = np.array([0.1, 0.9, 0.5])
    assert choose_rows(doubt, np.zeros((3, 2)), 7, rng()).tolist() == [1, 2, 0]


@pytest.mark.parametrize("n", [1, 7, 30])
def test_equal_rows_give_as_many_as_asked(n: int) -> None:
    chosen = choose_rows(np.full(60, 0.5), np.zeros((60, 2)), n, rng())
    assert len(set(chosen.tolist())) == n


def test_rows_without_doubt_are_chosen_if_there_are_no_others() -> None:
    chosen = choose_rows(np.zeros(50), rng().normal(size=(50, 2)), 5, rng())
    assert len(set(chosen.tolist())) == 5


def test_equally_doubtful_rows_come_from_the_whole_file() -> None:
    chosen = choose_rows(np.ones(2000), rng().normal(size=(2000, 3)), 10, rng())
    assert chosen.max() > 1000


def test_many_rows_are_chosen_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onelayer.labelling.diverse_rows.MOST_CLUSTERS", 8)
    chosen = choose_rows(rng().random(400), rng().normal(size=(400, 3)), 37, rng())
    assert len(set(chosen.tolist())) == 37


def test_each_kind_of_features_has_the_same_weight() -> None:
    joined = joined_features(rng().normal(size=(50, 2)), rng().normal(size=(50, 9)) * 1000, None)
    assert joined.shape == (50, 11)
    lengths = [(joined[:, part] ** 2).sum(axis=1) for part in (slice(2), slice(2, None))]
    np.testing.assert_allclose([np.sqrt(one).mean() for one in lengths], [1.0, 1.0], rtol=0.2)
    assert joined_features(np.zeros((4, 0)), None).shape == (4, 1)


def test_doubt_of_a_label_is_one_less_the_margin() -> None:
    p = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
    np.testing.assert_allclose(uncertain_label(np.log(p + 1e-12)).doubt, [1.0, 0.0, 0.7], atol=1e-9)


def test_doubt_of_labels_is_that_of_the_label_nearest_to_its_threshold() -> None:
    p = np.array([[0.3, 1.0], [0.0, 1.0], [0.15, 0.5], [0.3, 0.5]])
    doubt = uncertain_labels(logit(p), (0.3, 0.5)).doubt
    np.testing.assert_allclose(doubt, [1.0, 0.0, 1.0, 1.0], atol=1e-6)
    near = uncertain_labels(logit(np.array([[0.15, 0.9]])), (0.3, 0.5)).doubt
    assert near[0] == pytest.approx(0.5)


def logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    found: np.ndarray = np.log(p / (1 - p))
    return found
