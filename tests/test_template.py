"""The special tokens around texts and pairs: as the tokenizer's files say, in every task."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import processors
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from onelayer.base.errors import CheckpointError, Place
from onelayer.tasks.answer.answer import AnswerTask
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.answer.gold_answers import GoldAnswer
from onelayer.tasks.choose.choose import Choose, ChooseRow
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.tag.tag import Tag
from onelayer.tasks.tag.tag_rows import TagRow
from onelayer.tasks.texts import TextRow, encode_texts
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.template import Template
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.tokenizer_files import MPNET_WORDPIECE, WORDPIECE

HERE = Place("rows.jsonl", 1)
CLS, PAD, SEP = 0, 1, 2
TEXT = "the cat sat on a mat and dogs ran to red house who was it ? bad men saw blue fish"
VOCABULARY = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "<mask>",
    *TEXT.split(),
    "[",
    "]",
    "<",
    ">",
    "/",
    "s",
    "##s",
]
IDS = {token: number for number, token in enumerate(VOCABULARY)}
ROBERTA = processors.RobertaProcessing(("</s>", SEP), ("<s>", CLS))
TWO = Template((CLS,), (SEP, SEP), (SEP,), second_segment=0)
PASSAGE = "the cat sat on a mat and dogs ran to red house " * 3


def folder_with(folder: Path, processor: Any = ROBERTA, **settings: Any) -> Path:
    """A ``tokenizer.json`` of WordPiece with RoBERTa's special tokens."""
    folder.mkdir(exist_ok=True)
    backend = Backend(WordPiece(IDS, unk_token="<unk>"))
    backend.normalizer = BertNormalizer()
    backend.pre_tokenizer = BertPreTokenizer()
    if processor is not None:
        backend.post_processor = processor
    backend.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> Tokenizer:
    """A tokenizer with two separators in a pair."""
    return Tokenizer.read(folder_with(tmp_path), MPNET_WORDPIECE)


def template(single: str, pair: str) -> Any:
    return processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("<s>", CLS), ("</s>", SEP), ("<pad>", PAD)]
    )


def sequences(encodings: Encodings) -> list[list[int]]:
    return [encodings.ids[a:b].tolist() for a, b in pairwise(encodings.cu_seqlens.tolist())]


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (ROBERTA, TWO),
        (
            processors.BertProcessing(("</s>", SEP), ("<s>", CLS)),
            Template((CLS,), (SEP,), (SEP,), second_segment=1),
        ),
        (
            template("<s> $A </s>", "<s> $A </s> $B </s>"),
            Template((CLS,), (SEP,), (SEP,), second_segment=0),
        ),
        (template("<s> $A </s>", "<s> $A </s> </s> $B </s>"), TWO),
        (None, TWO),  # as the family has it
        (processors.ByteLevel(), TWO),
    ],
)
def test_template_is_the_post_processors(
    processor: Any, expected: Template, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, processor)
    assert Tokenizer.read(folder, MPNET_WORDPIECE).template == expected


def test_segments_are_all_zero_in_a_model_without_them(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, processors.BertProcessing(("</s>", SEP), ("<s>", CLS)))
    tokenizer = Tokenizer.read(folder, segments=False)
    assert tokenizer.template == Template((CLS,), (SEP,), (SEP,), second_segment=0)
    rows = [TextRow("the cat", "a mat", None, HERE)]
    encodings = encode_texts(rows, tokenizer, 16, 0, "head")
    assert not encodings.segment_ids.any()
    assert encodings.has_pairs
    assert encodings.second_at.tolist() == [4]


@pytest.mark.parametrize(
    ("single", "pair"),
    [
        ("<s> $A </s>", "<s> $A </s> </s> </s> $B </s>"),
        ("$A </s>", "$A </s> $B </s>"),
        ("<s> $A </s>", "<s> $A </s> $B"),
        ("<s> $A", "<s> $A </s> $B </s>"),
        ("<s> $A </s>", "<s> $B </s> $A </s>"),
        ("<s> $A </s>", "<s> $A:1 </s> $B </s>"),
        ("<s> $A </s>", "<s> $A </s>:2 $B:2 </s>:2"),
        ("<s> $A <pad>", "<s> $A </s> $B <pad>"),
        ("<s> $A <s>", "<s> $A <s> $B <s>"),
    ],
)
def test_unusual_template_is_refused(single: str, pair: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the post_processor makes .* of a pair"):
        Tokenizer.read(folder_with(tmp_path, template(single, pair)))


def test_template_of_other_tokens_than_named_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, cls_token="<mask>")
    with pytest.raises(CheckpointError, match="has token 0 where cls_token is <mask>, token 4"):
        Tokenizer.read(folder)


def test_beginning_and_end_of_a_text_count_as_cls_and_sep(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, None, bos_token="<mask>", eos_token="<pad>")
    tokenizer = Tokenizer.read(folder)
    assert (tokenizer.cls_id, tokenizer.sep_id) == (IDS["<mask>"], PAD)
    named = Tokenizer.read(folder_with(tmp_path, bos_token="<mask>", cls_token="<s>"))
    assert named.cls_id == CLS


@pytest.mark.parametrize("kind", [WORDPIECE, MPNET_WORDPIECE])
@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("processor", [ROBERTA, processors.BertProcessing(("</s>", 2), ("<s>", 0))])
def test_transformers_puts_the_same_tokens_around_texts(
    kind: Any, segments: bool, processor: Any, tmp_path: Path
) -> None:
    ours = Tokenizer.read(folder_with(tmp_path / "a", processor), kind, segments=segments)
    (tmp_path / "b").mkdir()
    ours.write(tmp_path / "b", max_length=64)
    assert Tokenizer.read(tmp_path / "b", kind, segments=segments).template == ours.template
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    for text, pair in (("the cat", None), ("the cat", "dogs ran</s>"), ("", "a")):
        encodings = encode_texts([TextRow(text, pair, None, HERE)], ours, 64, 0, "head")
        found = theirs(text, pair, split_special_tokens=True)
        assert found["input_ids"] == encodings.ids.tolist()
        if ours.template.second_segment:
            assert found["token_type_ids"] == encodings.segment_ids.tolist()
        else:
            assert "token_type_ids" not in found


def test_texts_and_pairs_fit_the_limit_with_all_special_tokens(two: Tokenizer) -> None:
    long = "the cat sat on a mat " * 4
    rows = [TextRow(a, b, None, HERE) for a, b in (("a", "a"), (long, None), (long, long))]
    encodings = encode_texts(rows, two, 12, 2, "head")
    found = sequences(encodings)
    assert found[0] == [*TWO.first([IDS["a"]]), IDS["a"], SEP]
    assert list(map(len, found)) == [6, 12, 12]
    assert found[1].count(SEP) == 1
    assert found[2].count(SEP) == 3
    assert encodings.second_at.tolist() == [4, 12, 1 + 4 + 2]


def question(answer: str | None = "the cat") -> AnswerRow:
    golds = () if answer is None else (GoldAnswer(answer, PASSAGE.index(answer)),)
    return AnswerRow("q", "who was it ?", PASSAGE, golds, HERE)


@pytest.mark.parametrize("limit", [8, 13, 24, 64])
def test_question_and_windows_fit_the_limit(limit: int, two: Tokenizer) -> None:
    task = AnswerTask(max_length=limit, stride=2, max_answer_tokens=9, span_head="span")
    encodings = task.encode([question()], two, labelled=True)
    assert encodings.lengths.max() <= limit
    assert encodings.offsets is not None
    for sequence, at, reads in zip(
        sequences(encodings), encodings.second_at, pairwise(encodings.cu_reads), strict=True
    ):
        assert sequence[at - 2 : at] == [SEP, SEP]
        assert sequence[-1] == SEP
        assert sequence.count(SEP) == 3
        words = [PASSAGE[a:b] for a, b in encodings.offsets[slice(*reads)][1:]]
        assert [VOCABULARY[token] for token in sequence[at:-1]] == words


def test_cloze_questions_have_the_template(two: Tokenizer) -> None:
    task = AnswerTask(max_length=44, stride=4, max_answer_tokens=9, span_head="span")
    encodings = task.encode([question(), question("red")], two, labelled=True)
    practice = task.practice(encodings, two)
    assert practice is not None
    made = practice.batch(20, np.random.default_rng(0))
    assert made is not None
    assert made.lengths.max() <= 44
    assert not made.segment_ids.any()
    for sequence, at in zip(sequences(made), made.second_at, strict=True):
        assert sequence[0] == CLS
        assert sequence[at - 2 : at] == [SEP, SEP]
        assert sequence.count(SEP) == 3
        assert IDS["?"] in sequence[:at]


def test_options_have_the_template(two: Tokenizer) -> None:
    rows = [
        ChooseRow(context, "who ?", ("a cat", "men"), 0, HERE)
        for context in ("the cat sat on a mat and dogs ran", "men saw blue fish")
    ]
    task = Choose(max_length=14)
    encodings = task.encode(rows, two, labelled=True)
    practice = task.practice(encodings, two)
    assert practice is not None
    made = practice.batch(8, np.random.default_rng(0))
    assert made is not None
    for one in (encodings, made):
        assert one.lengths.max() <= 14
        for sequence, at in zip(sequences(one), one.second_at, strict=True):
            assert sequence[at - 2 : at] == [SEP, SEP]
            assert sequence.count(SEP) == 3
            assert sequence[at] == IDS["who"]


def test_tagged_words_are_read_behind_the_first_special_token(two: Tokenizer) -> None:
    task = Tag(labels=("A", "B"), scheme=Scheme.PLAIN, max_length=10, stride=2)
    row = TagRow(PASSAGE, None, None, None, HERE)
    encodings = task.encode([row], two, labelled=False)
    assert encodings.lengths.max() <= 10
    assert not encodings.has_pairs
    read = encodings.ids[
        np.repeat(encodings.cu_seqlens[:-1], np.diff(encodings.cu_reads)) + encodings.reads
    ]
    assert [VOCABULARY[token] for token in read] == PASSAGE.split()
