"""How the benchmarks' data sets are cut into slices in their owners' formats, and read for the
peer's preprocessing and the scorers.

A format has three functions: ``split`` makes of a file's text its head and its rows, ``join`` makes
a file's text of a head and rows, and ``row`` reads one row.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from typing import Any

HEADERS = ("index\t", "sentence\t", "\ufeffQuality\t")
"""What the first line of a file with a header begins with."""


AS_CONLL = ("cluener", "weibo")
"""Formats whose slices are written as CoNLL files."""


def split_lines(text: str) -> tuple[str, list[str]]:
    lines = text.strip("\n").split("\n")
    return (lines[0] + "\n", lines[1:]) if lines[0].startswith(HEADERS) else ("", lines)


def join_lines(head: str, lines: list[str]) -> str:
    return head + "\n".join(lines) + "\n"


def split_conll(text: str) -> tuple[str, list[str]]:
    # WNUT-17 separates sentences by empty lines in one file and by lines with a tab in another.
    return "", re.split(r"\n\s*\n", text.strip())


def join_conll(_: str, blocks: list[str]) -> str:
    return "\n\n".join(blocks) + "\n"


def split_squad(text: str) -> tuple[str, list[dict[str, Any]]]:
    source = json.loads(text)
    return source["version"], [
        {"context": paragraph["context"], "qas": [question]}
        for article in source["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def join_squad(version: str, paragraphs: list[dict[str, Any]]) -> str:
    return json.dumps({"version": version, "data": [{"title": "", "paragraphs": paragraphs}]})


def split_dream(text: str) -> tuple[str, list[list[Any]]]:
    return "", [
        [turns, [question], name]
        for turns, questions, name in json.loads(text)
        for question in questions
    ]


def join_dream(_: str, dialogues: list[list[Any]]) -> str:
    return json.dumps(dialogues)


def text_label(line: str) -> dict[str, Any]:
    text, label = line.split("\t")
    return {"text": text, "pair": None, "label": label}


def glue_pair(line: str) -> dict[str, Any]:
    _, text, pair, label = line.split("\t")
    return {"text": text, "pair": pair, "label": label}


def pair_score(line: str) -> dict[str, Any]:
    text, pair, score = next(csv.reader([line]))
    return {"text": text, "pair": pair, "label": float(score)}


def conll_sentence(block: str) -> dict[str, Any]:
    words, tags = zip(*(line.split("\t") for line in block.split("\n")), strict=True)
    return {"words": list(words), "tags": list(tags)}


def squad_question(paragraph: dict[str, Any]) -> dict[str, Any]:
    (question,) = paragraph["qas"]
    return {"context": paragraph["context"], **question}


def dream_question(dialogue: list[Any]) -> dict[str, Any]:
    turns, (question,), _ = dialogue
    return {
        "context": "\n".join(turns),
        "question": question["question"],
        "options": question["choice"],
        "answer": question["choice"].index(question["answer"]),
    }


def cola_sentence(line: str) -> dict[str, Any]:
    _, label, _, text = line.split("\t")
    return {"text": text, "pair": None, "label": label}


def mrpc_pair(line: str) -> dict[str, Any]:
    label, _, _, text, pair = line.split("\t")
    return {"text": text, "pair": pair, "label": label}


def pair_label(line: str) -> dict[str, Any]:
    text, pair, label = line.split("\t")
    return {"text": text, "pair": pair, "label": label}


def json_pair(line: str) -> dict[str, Any]:
    row = json.loads(line)
    return {"text": row["sentence1"], "pair": row["sentence2"], "label": row["label"]}


def split_json_pairs(text: str) -> tuple[str, list[str]]:
    """Without the pairs that have no label, which are ``-``."""
    return "", [line for line in split_lines(text)[1] if json.loads(line)["label"] != "-"]


def split_cluener(text: str) -> tuple[str, list[str]]:
    """CLUENER's spans, whose ends are included, as blocks of a character and its tag a line."""
    blocks = []
    for line in text.strip("\n").split("\n"):
        row = json.loads(line)
        tags = ["O"] * len(row["text"])
        for label, names in row["label"].items():
            for first, last in (span for spans in names.values() for span in spans):
                tags[first : last + 1] = [f"B-{label}", *[f"I-{label}"] * (last - first)]
        pairs = zip(row["text"], tags, strict=True)
        blocks.append("\n".join(f"{char}\t{tag}" for char, tag in pairs if not char.isspace()))
    return "", blocks


def split_weibo(text: str) -> tuple[str, list[str]]:
    """Weibo's characters without the number behind each, its place in a word. Twelve sentences of
    its files are left out, whose tags aren't legal IOB2."""
    _, blocks = split_conll(text)
    legal = [
        block for block in blocks if _is_iob2([line.split("\t")[-1] for line in block.split("\n")])
    ]
    return "", [re.sub(r"(?m)^(.)\d\t", r"\1\t", block) for block in legal]


def _is_iob2(tags: list[str]) -> bool:
    pairs = zip(["O", *tags], tags, strict=False)
    return all(before[2:] == tag[2:] for before, tag in pairs if tag.startswith("I-"))


FORMATS: dict[str, tuple[Callable[..., Any], Callable[..., str], Callable[[Any], dict]]] = {
    "text-label": (split_lines, join_lines, text_label),
    "glue-pair": (split_lines, join_lines, glue_pair),
    "pair-score": (split_lines, join_lines, pair_score),
    "conll": (split_conll, join_conll, conll_sentence),
    "squad": (split_squad, join_squad, squad_question),
    "dream": (split_dream, join_dream, dream_question),
    "cola": (split_lines, join_lines, cola_sentence),
    "mrpc": (split_lines, join_lines, mrpc_pair),
    "pair-label": (split_lines, join_lines, pair_label),
    "json-pair": (split_json_pairs, join_lines, json_pair),
    "cluener": (split_cluener, join_conll, conll_sentence),
    "weibo": (split_weibo, join_conll, conll_sentence),
}
