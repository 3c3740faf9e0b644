"""The pictures of the vectors that the layer reads are what the tasks encode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.support.layer_examples import FIGURES, LayerFigure
from benchmarks.support.layer_figures import drawn
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.tokens.tokenizer import Tokenizer

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OTHER = {"label": "other"}


def pair(text: str, other: str, label: str) -> dict[str, Any]:
    return {"premise": text, "hypothesis": other, "label": label}


def asked(question: str, passage: str, answer: str) -> dict[str, Any]:
    answers = [{"text": answer, "answer_start": passage.index(answer)}] if answer else []
    return {"question": question, "context": passage, "answers": answers}


def tagged(words: str, tags: str) -> dict[str, Any]:
    return {"tokens": words.split(), "tags": tags.split()}


def choice(context: str, question: str, *options: str) -> dict[str, Any]:
    return {"context": context, "question": question, "options": options, "answer": options[0]}


ROWS: dict[str, list[dict[str, Any]]] = {
    "reads_text": [{"text": "Is a deposit needed?", "label": "room"}, {"text": "is a", **OTHER}],
    "reads_text_zh": [{"text": "押金怎么退？", "label": "场地"}, {"text": "怎么", **OTHER}],
    "reads_pair": [
        pair("Two girls sing", "Nobody sings", "contradiction"),
        pair("two", "sing", "other"),
    ],
    "reads_pair_zh": [pair("两人在唱歌", "没人唱", "矛盾"), pair("两人", "唱", "other")],
    "reads_tag": [tagged("Ada flew to Reykjavik", "B-PER O O B-LOC"), tagged("to", "O")],
    "reads_tag_zh": [tagged("她 住 在 北 京", "O O O B-LOC I-LOC"), tagged("在", "O")],
    "reads_answer": [asked("Where is it?", "It is in New Ulm", "New Ulm"), asked("is", "it", "")],
    "reads_answer_zh": [asked("在哪？", "展览在北京", "北京"), asked("在", "哪", "")],
    "reads_choose": [
        choice("It rains", "Take", "boots", "cake"),
        choice("It", "Take", "cake", "boots"),
    ],
    "reads_choose_zh": [choice("下雨", "带", "伞", "糖"), choice("雨", "带", "糖", "伞")],
}
"""By picture, its row and another one, so that there are two classes."""


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.file)
def test_picture_has_the_tokens_and_reads_of_its_task(figure: LayerFigure, tmp_path: Path) -> None:
    tokens = (token for sentence in figure.sequences for token in sentence.tokens)
    vocabulary = list(dict.fromkeys([*SPECIALS, *tokens]))
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = Tokenizer.read(tmp_path)
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS[figure.file])))
    kind, _, rows = read_labelled(path, Recipe(), lambda _: None)
    task = kind.fit(rows, tokenizer, Recipe(), 64)
    encoded = task.encode(rows[:1], tokenizer, False)
    for i, sentence in enumerate(figure.sequences):
        ids = encoded.ids[encoded.cu_seqlens[i] : encoded.cu_seqlens[i + 1]]
        assert [vocabulary[number] for number in ids] == sentence.tokens
        reads = encoded.reads[encoded.cu_reads[i] : encoded.cu_reads[i + 1]]
        assert reads.tolist() == list(sentence.outputs)
        segments = encoded.segment_ids[encoded.cu_seqlens[i] : encoded.cu_seqlens[i + 1]]
        first = sentence.tokens.index("[SEP]") + 1
        assert segments.tolist() == [0] * first + [1] * (len(ids) - first)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.file)
def test_picture_in_the_docs_is_the_drawn_one(figure: LayerFigure) -> None:
    written = (IMAGES / f"{figure.file}.svg").read_text(encoding="utf-8")
    assert written == drawn(figure)
    ElementTree.fromstring(written)
