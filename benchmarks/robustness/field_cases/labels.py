"""What a label is: lists, names, numbers, flags, and words for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect, reads, refuses
from onelayer.data.readers import read_table

PEOPLE_AND_PLACES = ("O", "B-PER", "I-PER", "B-LOC")


def has_labels(*names: str, says: str = "") -> Callable[[Trial, Path], str]:
    """A check that ``inspect`` finds just these labels."""

    def check(trial: Trial, file: Path) -> str:
        found = trial.inspected(file)
        expect(set(found["labels"]) == set(names), f"labels {found['labels']}")
        expect(says in json.dumps(found["remarks"]), found["remarks"])
        return f"{found['task']}, labels {found['labels']}"

    return check


def evaluates(run: str, says: str = "") -> Callable[[Trial, Path], str]:
    """A check that a run of another file scores all rows of this one, or names the bad row."""

    def check(trial: Trial, file: Path) -> str:
        trained = trial.trained(file.with_name(run))
        if says:
            refused = trial.refused("eval", trained, file, says=says)
            left = trial.onelayer("eval", trained, file, "--skip-bad", "--json")
            expect(left.code == 0, f"--skip-bad: {left.err[-300:]}")
            return f"{refused}; --skip-bad scores {json.loads(left.out)['rows']} rows"
        ran = trial.onelayer("eval", trained, file, "--json")
        expect(ran.code == 0, ran.err[-300:])
        plain = trial.scratch / f"plain-{file.name}"
        rows_ = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [json.dumps({**row, "label": row["label"][0]}) for row in rows_]
        plain.write_text("\n".join(lines))
        same = json.loads(trial.onelayer("eval", trained, plain, "--json").out)["scores"]
        expect(json.loads(ran.out)["scores"] == same, "other scores than with plain labels")
        return f"accuracy {same['accuracy']:.3f}, as with plain labels"

    return check


def nearly_every_label_is_its_own(trial: Trial, file: Path) -> str:
    """A check that training is refused, and that ``inspect`` remarks on it."""
    expect("nearly every label" in str(trial.inspected(file)["remarks"]), "inspect says nothing")
    return asks("nearly every label")(trial, file)


def asks(says: str) -> Callable[[Trial, Path], str]:
    """A check that ``train`` refuses the file in one line with these words."""

    def check(trial: Trial, file: Path) -> str:
        out = trial.scratch / "no"
        return trial.refused("train", file, "--model", trial.model, "--out", out, says=says)

    return check


def names_unknown_labels(trial: Trial, file: Path) -> str:
    """A check that a label with a separator in it isn't scored as another one."""
    run = trial.trained(file.with_name("a67d_train.jsonl"))
    return trial.refused("eval", run, file, says="label 'good|bad' does not occur")


def trains_one_label_a_row(trial: Trial, file: Path) -> str:
    """A check of lists that hold no or two labels where the user says that each row has one."""
    said = trial.refused(
        *("train", file, "--model", trial.model, "--out", trial.scratch / "no"),
        "--no-multi-label",
        says="where each row has one",
    )
    trial.trained(file)
    return said


def written_as(*suffixes: str, rows: int) -> Callable[[Trial, Path], str]:
    """A check that a run's predictions for a file are written in these formats."""

    def check(trial: Trial, file: Path) -> str:
        run = trial.trained(file.parent.with_name("a67d_train.jsonl"))
        for suffix in suffixes:
            out = trial.scratch / f"out.{suffix}"
            ran = trial.onelayer("predict", run, file, "--out", out)
            expect(ran.code == 0, f"{suffix}: exit {ran.code}: {ran.err[-300:]}")
            expect(len(list(read_table(out))) == rows if rows else True, "other rows")
        return f"{rows} predictions as {', '.join(suffixes)}"

    return check


def not_predicted(says: str) -> Callable[[Trial, Path], str]:
    """A check that a run refuses to predict for a file, in one line with these words."""

    def check(trial: Trial, file: Path) -> str:
        run = trial.trained(file.parent.with_name("a67d_train.jsonl"))
        return trial.refused("predict", run, file, "--out", trial.scratch / "no.parquet", says=says)

    return check


CASES = (
    Case("deploy/dict.parquet", "written", written_as("parquet", "jsonl", "csv", rows=3)),
    Case("deploy/pandas_idx.parquet", "written", written_as("parquet", "jsonl", "csv", rows=2)),
    Case("deploy/clash.parquet", "written", written_as("parquet", "jsonl", "csv", rows=1)),
    Case("deploy/empty.parquet", "0 predictions", written_as("parquet", "jsonl", "csv", rows=0)),
    Case("deploy/binary.parquet", "exit 2", not_predicted("text is binary, not a text")),
    Case("deploy/large_null.parquet", "the row named", not_predicted(":2:text: no text")),
    Case("a67b_two_labels.jsonl", "several labels a row", reads("several", task="classify")),
    Case("a67d_train.jsonl", "two classes", has_labels("bad", "good")),
    Case("a67e_eval_lists.jsonl", "a list of one is its item", evaluates("a67d_train.jsonl")),
    Case("a67f_eval_slip.jsonl", "bad row", evaluates("a67d_train.jsonl", ":1:label: no labels")),
    Case("a67g_train_slip.jsonl", "bad rows, or several labels", trains_one_label_a_row),
    Case("a67i_eval_two.jsonl", "bad row", evaluates("a67d_train.jsonl", "2 labels")),
    Case("a67j_eval_none.jsonl", "bad row", evaluates("a67d_train.jsonl", "no labels")),
    Case("a67k_eval_sep.csv", "bad row", names_unknown_labels),
    Case("a01_onehot.csv", "one-hot columns read", has_labels("rude", "threat", "spam")),
    Case("a02_multihot_string.csv", "multi-hot read", has_labels("0", "1", "2")),
    Case("a03_multihot_list.jsonl", "multi-hot read", has_labels("0", "1", "2")),
    Case("a05_float_labels_nan.csv", "rows without label named", asks("no label")),
    Case("a05b_literal_nan.csv", "nan remarked on", reads("may stand for no label")),
    Case("a05c_null_words.csv", "words for nothing remarked on", reads("may stand for no label")),
    Case("a06_label_case_space.csv", "case remarked on", reads("differ only in case")),
    Case("a14_fasttext.txt", "fastText read", has_labels("bad", "good")),
    Case("a51_percent.csv", "numbers: a question", asks("--task regress")),
    Case("a51b_stars.csv", "five classes", has_labels("1/5", "2/5", "3/5", "4/5", "5/5")),
    Case("a52_distinct_labels.csv", "says each label is its own", nearly_every_label_is_its_own),
    Case("a64_space_multilabel.csv", "split", has_labels("rude", "threat", "spam", "none")),
    Case(
        "e10_skewed_outlier.csv",
        "outlier remarked on",
        reads("far from the median"),
    ),
    Case("g02_label_list_none.jsonl", "null refused", asks("a list with a null")),
    Case("g04_label_null.jsonl", "null named", asks("no label")),
    Case("g10_soft_labels.jsonl", "soft labels refused", refuses("soft labels")),
    Case("f01_hub_ner.parquet", "named tags", has_labels(*PEOPLE_AND_PLACES)),
    Case("f01b_saved_ner", "named tags", has_labels(*PEOPLE_AND_PLACES)),
    Case("f02_hub_classlabel.parquet", "names of the schema", has_labels("bad", "good")),
    Case("f02c_hub.csv", "numbers as names", has_labels("0", "1")),
    Case("f03_frame.feather", "Feather read", has_labels("bad", "good")),
    Case("f04d_boolcols.parquet", "Boolean columns read", has_labels("rude", "spam")),
)
