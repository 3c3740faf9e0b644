"""A fine-tuned run, opened by transformers: does it give our logits?"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer

from onelayer.checkpoint.families import FAMILIES
from onelayer.nn.heads import HEADS
from onelayer.prediction.predictor import Predictor
from onelayer.tokens.words import split_words
from support.task_cases import PASSAGE, Case


def assert_transformers_agrees(predictor: Predictor, case: Case) -> None:
    """transformers reads tokenizer, model and labels from our directory, cuts the same tokens and
    computes the same logits."""
    folder, task = predictor.path, predictor.task
    assert folder is not None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    form = HEADS[task.head].form
    architecture = FAMILIES[config["model_type"]].class_for(form)
    assert config["architectures"] == [architecture]
    model = getattr(transformers, architecture).from_pretrained(folder).eval()
    tokenize = AutoTokenizer.from_pretrained(folder)
    if form in ("SequenceClassification", "TokenClassification") and task.name != "regress":
        assert model.config.id2label == dict(enumerate(task.outputs))

    is_tag = task.name == "tag"
    # A tokenizer with marks for white space cuts words as they stand in the text.
    marked = FAMILIES[config["model_type"]].tokenizer.model != "WordPiece"
    for item in short(case, predictor):
        if is_tag and marked and not re.fullmatch("[a-z ]+", str(item)):
            continue
        rows = [predictor.row_of(item, 1)]
        encodings = task.encode(rows, predictor.tokenizer, labelled=False)
        assert len(encodings.lengths) == (len(item[2]) if task.name == "choose" else 1)
        arguments = (rows[0].text,) if is_tag and marked else their_arguments(task.name, rows[0])
        inputs = tokenize(*arguments, is_split_into_words=is_tag and not marked)
        inputs = {name: torch.tensor(x)[None] for name, x in inputs.items()}
        assert inputs["input_ids"].flatten().tolist() == encodings.ids.tolist()
        with torch.inference_mode():
            out = model(**inputs)
        theirs = their_logits(task.name, out)
        if theirs.shape[0] != len(encodings.reads):
            theirs = theirs[encodings.reads.astype(np.int64)]
        ours = torch.from_numpy(predictor.engine.logits(encodings))
        scale = 1.0 if task.name != "regress" else float(theirs.abs().max())
        torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-5, rtol=0.0)


def short(case: Case, predictor: Predictor) -> list[Any]:
    """Inputs of one window, and options of equal length, so that transformers can batch them."""
    if case.task == "answer":
        return [("who?", "the good cat in 北京"), ("where", "x")]
    if case.task == "choose":
        letters = [[f"is {letter}"] for letter in "abcdefghijk"]
        n_pieces = [len(predictor.tokenizer.pieces(one).ids) for one in letters]
        usual = max(set(n_pieces), key=n_pieces.count)
        equal = [one[0][-1] for one, n in zip(letters, n_pieces, strict=True) if n == usual]
        return [("the cat", "is", equal[:3])]
    return [one for one in case.inputs if PASSAGE not in one]


def their_arguments(task: str, row: Any) -> tuple[Any, ...]:
    if task == "tag":
        return ([row.text[start:end] for start, end in split_words(row.text)],)
    if task == "answer":
        return (row.question, row.passage)
    if task == "choose":
        pairs = [f"{row.question} {option}" for option in row.options]
        return ([row.context] * len(pairs), pairs)
    return (row.text,) if row.pair is None else (row.text, row.pair)


def their_logits(task: str, out: Any) -> torch.Tensor:
    """(tokens or sequences, outputs)"""
    if hasattr(out, "start_logits"):
        return torch.stack([out.start_logits[0], out.end_logits[0]], dim=-1)
    return out.logits.T if task == "choose" else out.logits.view(-1, out.logits.shape[-1])
