"""Answers in passages, and options to choose among."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect, reads, refuses
from onelayer.data.readers import read_table
from onelayer.data.rows import read_rows
from onelayer.tasks.infer_columns import infer_columns


def answers(n: int, first: object, says: str = "") -> Callable[[Trial, Path], str]:
    """A check that a run trains on n rows, the first of them with this answer: the start and the
    text, or the index of the right option."""

    def check(trial: Trial, file: Path) -> str:
        table = read_table(file)
        seen = infer_columns(table, task=None, asked={})
        found = read_rows(seen.kind, table, seen.layout)
        row = next(iter(found))
        gold = (
            [(answer.start, answer.text) for answer in row.answers]
            if seen.kind.name == "answer"
            else row.answer
        )
        expect(gold == first, f"the first answer is {gold}, not {first}")
        inspected = trial.inspected(file)
        expect(inspected["rows"] == n, f"{inspected['rows']} rows, not {n}")
        said = json.dumps(inspected["remarks"], ensure_ascii=False)
        expect(says in said, f"nothing is said of {says!r}: {said}")
        trial.trained(file)
        return f"{seen.kind.name}, {n} rows, the first answer is {gold}"

    return check


def names(reason: str) -> Callable[[Trial, Path], str]:
    """A check that training stops with the reason, which ``inspect`` gives as well."""

    def check(trial: Trial, file: Path) -> str:
        found = json.dumps(trial.inspected(file), ensure_ascii=False)
        expect(reason in found, f"inspect says nothing of {reason!r}")
        return trial.refused("train", file, "--model", trial.model, says=reason)

    return check


CASES = (
    Case("c06b_short_inside_word.jsonl", "whole numbers before parts", answers(40, [(53, "3")])),
    Case("c09_impossible_with_answers.json", "named", names("is_impossible is true")),
    Case(
        "c10_nbsp.json", "NBSP read, said", answers(40, [(0, "The\u00a0old mill")], "white space")
    ),
    Case("c14_trailing_ws.json", "read, said", answers(40, [(33, "1712")], "around the answer")),
    Case("c15_case.json", "read, said", answers(40, [(16, "Ulm")], "case of the answer")),
    Case("c16_hub_csv.csv", "the Hub's object in a csv read", answers(40, [(33, "1712")])),
    Case("g16_answer_int.jsonl", "a number read as a text", answers(40, [(33, "1712")])),
    Case("d02_race.jsonl", "RACE read, a row a question", answers(80, 0)),
    Case("d09_llmscience.csv", "choose, not classify", answers(40, 0)),
    Case("d11_minus1.jsonl", "reason named", names("not labelled: the answer is -1")),
    Case("d13_dup_options.jsonl", "read, said", answers(40, 0, "there twice")),
    Case("d15_numeric_options.jsonl", "texts, said", answers(40, 0, "as the options' texts")),
    Case("d15b_numeric_options.csv", "texts, said", answers(40, 2, "as the options' texts")),
    Case("g11_choice_float.csv", "0.0 is position 0", answers(40, 0, "counted from 0")),
    Case("g05_text_list.jsonl", "reason named", refuses("holds lists where a text is expected")),
    Case("g06_text_number.jsonl", "read", reads(rows=80, task="classify")),
)
