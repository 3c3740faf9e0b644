"""Tokenizers of every kind: as transformers', with exact offsets, and deaf to special tokens."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend

from onelayer.base.errors import CheckpointError, Place
from onelayer.tasks.answer.answer import AnswerTask
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.answer.gold_answers import GoldAnswer
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.tag.tag import Tag
from onelayer.tasks.tag.tag_rows import TagRow
from onelayer.tasks.texts import TextRow, encode_texts
from onelayer.tokens.coverage import coverage
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.tokenizer_files import BYTE_BPE
from onelayer.tokens.words import split_words
from support.tiny_tokenizers import BERTS, ROBERTAS, SENTENCES, TINY, Tiny

HERE = Place("rows.jsonl", 1)
SPACED = ("The", "cat sat", "dogs", "naïve")
"""Answers between white space."""
SPECIALS = (*BERTS, *ROBERTAS)
PIECES = (*SENTENCES, *SPECIALS, " ", "  ", "\n", "\t", "\u00a0", "\u3000", "▁", "Ġ", "ﬁ", "é", "İ")
PIECES += (
    "e\u0301",
    "\u0301",
    "😀",
    "👨\u200d👩\u200d👧",
    "猫",
    "①",
    "½",
    "ﷺ",
    "\u200b",
    "``",
    "''",
)
texts = st.lists(st.text(max_size=4) | st.sampled_from(PIECES), max_size=8).map("".join)


@pytest.fixture(scope="module", params=TINY)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return TINY[request.param]


@pytest.fixture(scope="module")
def folder(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(tiny: Tiny, folder: Path) -> Tokenizer:
    return Tokenizer.read(folder, tiny.kind)


@pytest.fixture(scope="module")
def backend(folder: Path) -> Backend:
    return Backend.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def written(tiny: Tiny, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    tokenizer.write(folder, max_length=64)
    tiny.write_config(folder)
    return folder


def special_ids(tokenizer: Tokenizer) -> set[int]:
    return {*tokenizer.template.ids, tokenizer.pad_id}


def test_unknown_token_is_the_models(tiny: Tiny, tmp_path: Path) -> None:
    data = json.loads(tiny.make().to_str())
    text = json.dumps(data).replace("<unk>", "<odd>").replace("[UNK]", "<odd>")
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    is_bytes = data["pre_tokenizer"]["type"] == "ByteLevel"
    if is_bytes:  # which has no unknown text, but tags need a token for words that become nothing
        (tmp_path / "tokenizer_config.json").write_text('{"unk_token": "<odd>"}')
    tokenizer = Tokenizer.read(tmp_path, tiny.kind)
    assert tokenizer.unk_id == Backend.from_str(text).token_to_id("<odd>")
    assert (tokenizer.unk_id in tokenizer.encode(["Ꮳ"])[0].ids) != is_bytes
    assert tokenizer.unk_id not in tokenizer.encode(["the <odd> cat"])[0].ids or not is_bytes


def test_template_is_read(tiny: Tiny, tokenizer: Tokenizer) -> None:
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    assert tokenizer.template.before == (cls,)
    assert tokenizer.template.between == (sep,) * tiny.separators
    assert tokenizer.template.after == (sep,)
    assert tokenizer.template.second_segment == tiny.segments


@settings(deadline=None, max_examples=60)
@given(text=texts)
@example(text=" ".join(SENTENCES))
@example(text="a </s> b [SEP]</s>x<s> <unk>[UNK]")
def test_offsets_are_exact_and_special_tokens_plain_text(
    text: str, tokenizer: Tokenizer, backend: Backend
) -> None:
    (found,) = tokenizer.encode([text])
    assert found.ids == tokenizer.pieces([text]).ids.tolist()
    if plain(text):
        assert found.ids == backend.encode(text, add_special_tokens=False).ids
    assert not special_ids(tokenizer) & {*found.ids}
    for (start, end), (after, end_after) in pairwise([(0, 0), *found.offsets]):
        assert 0 <= start <= end <= len(text)
        assert start <= after
        assert end <= end_after
    for start, end in found.offsets:
        assert text[start:end] == text[start:end].strip()
    covered = {i for start, end in found.offsets for i in range(start, end)}
    for i, character in enumerate(text):
        assert i in covered or is_left_out(character, backend), i


def is_left_out(character: str, backend: Backend) -> bool:
    """Whether white space, or nothing, remains of a character that follows a letter."""
    if character in "`'":  # two of them are one quotation mark for ALBERT, at the second one
        return True
    after = f"a{character}"
    if backend.normalizer is not None:
        after = backend.normalizer.normalize_str(after)
    return unicodedata.category(character) == "Mn" or not after.removeprefix("a").strip()


@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_words_have_their_own_pieces(text: str, tokenizer: Tokenizer) -> None:
    words = split_words(text)
    (found,) = tokenizer.encode_words([text], [words])
    assert not special_ids(tokenizer) & {*found.ids}
    assert [*found.word_ids] == sorted(number for number in found.word_ids if number is not None)
    assert {*found.word_ids} <= {*range(len(words))}


def test_words_are_cut_as_in_the_text(tokenizer: Tokenizer) -> None:
    text = " ".join(SENTENCES[:3])
    words = split_words(text)
    (whole,) = tokenizer.encode([text])
    (by_word,) = tokenizer.encode_words([text], [words])
    # Where no piece spans two words the cuts are the same.
    if all(
        any(a <= start and end <= b for a, b in words)
        for start, end in whole.offsets
        if end > start
    ):
        assert by_word.ids == whole.ids


def test_words_that_touch_get_no_mark_between_them(tokenizer: Tokenizer) -> None:
    text = "the cat"
    (spaced,) = tokenizer.encode_words([text], [[(0, 3), (4, 7)]])
    (touching,) = tokenizer.encode_words(["thecat"], [[(0, 3), (3, 6)]])
    (whole,) = tokenizer.encode([text])
    assert spaced.ids == whole.ids
    (alone,) = tokenizer.encode(["the"])
    assert touching.ids[: len(alone.ids)] == alone.ids


def test_tokens_within_a_word_are_known(tokenizer: Tokenizer) -> None:
    text = "x the dogsdogs, 猫猫 catt😀s"
    continues = tokenizer.continues_word
    (found,) = tokenizer.encode([text])
    assert not continues[[*special_ids(tokenizer)]].any()
    begins = {start for start, _ in split_words(text)}
    marked, before = True, -1  # whether a mark is a piece of its own; where the last piece begins
    for token, (start, end) in zip(found.ids, found.offsets, strict=True):
        if start == before and start < end:  # more bytes of one character
            assert continues[token] or marked
        elif start < end and token != tokenizer.unk_id and "😀" not in text[start - 1 : end]:
            assert continues[token] == (start not in begins) or marked
        marked, before = start == end, start


def test_bytes_of_letters_are_poor_coverage(tiny: Tiny, tokenizer: Tokenizer) -> None:
    assert coverage(tokenizer, ["Ꮳꮃꭹ ꭶꮼꮒꭿꮝꮧ"]).poor
    assert not coverage(tokenizer, [SENTENCES[0]] * 9).poor


# Tasks.


def asked(passage: str, answer: str) -> AnswerRow:
    golds = (GoldAnswer(answer, passage.index(answer)),)
    return AnswerRow("q", "who was it?", passage, golds, HERE)


@pytest.mark.parametrize(
    "answer", ["The", "cat sat", "dogs", "猫", "今天天气", "😀", "naïve", "(or"]
)
def test_answer_is_found_again_without_white_space(answer: str, tokenizer: Tokenizer) -> None:
    passage = "  \n".join(SENTENCES) + " \n"
    row = asked(passage, answer)
    task = AnswerTask(max_length=80, stride=20, max_answer_tokens=30)
    encodings = task.encode([row], tokenizer, labelled=True)
    assert encodings.lengths.max() <= 80
    assert encodings.targets is not None
    (found,) = task.decode([row], encodings, 9.0 * encodings.targets.astype(np.float32))
    # A token may have more characters than the answer, "(or" of "(or more" say.
    assert answer in found.text or found.text in answer
    if answer in SPACED:
        assert found.text == answer


@settings(deadline=None, max_examples=20)
@given(data=st.data(), passage=texts)
def test_answers_neither_begin_nor_end_with_white_space(
    data: st.DataObject, passage: str, tokenizer: Tokenizer
) -> None:
    row = AnswerRow("q", "who?", f"a {passage}", None, HERE)
    task = AnswerTask(max_length=32, stride=8, max_answer_tokens=30)
    encodings = task.encode([row], tokenizer, labelled=False)
    seed = data.draw(st.integers(0, 99))
    logits = np.random.default_rng(seed).normal(size=(len(encodings.reads), 2))
    (found,) = task.decode([row], encodings, logits)
    assert found.candidates
    for one in found.candidates:
        assert one.text
        assert one.text == one.text.strip() == row.passage[one.start : one.end]


def test_tagged_words_are_the_files(tokenizer: Tokenizer) -> None:
    text = "  " + " ".join(SENTENCES)
    task = Tag(labels=("A", "B"), scheme=Scheme.PLAIN, max_length=40, stride=8)
    row = TagRow(text, None, None, None, HERE)
    encodings = task.encode([row], tokenizer, labelled=False)
    assert encodings.lengths.max() <= 40
    (found,) = task.decode([row], encodings, np.zeros((len(encodings.reads), 2)))
    assert [*found.words] == split_words(text)


# Files.


def plain(text: str) -> bool:
    return not any(special in text for special in SPECIALS)


@settings(deadline=None, max_examples=40)
@given(text=texts.filter(plain), pair=texts.filter(plain).filter(bool))
@example(text=SENTENCES[0], pair=SENTENCES[2])
def test_transformers_reads_the_same_from_what_we_write(
    text: str, pair: str, tiny: Tiny, tokenizer: Tokenizer, written: Path, theirs: object
) -> None:
    assert callable(theirs)
    for second in (None, pair):
        rows = [TextRow(text, second, None, HERE)]
        ours = encode_texts(rows, tokenizer, 10_000, 0, "head")
        found = theirs(text, second)
        assert found["input_ids"] == ours.ids.tolist()
        assert ("token_type_ids" in found) == tiny.segments
        assert [*found.get("token_type_ids", 0 * ours.ids)] == ours.segment_ids.tolist()


@pytest.fixture(scope="module")
def theirs(written: Path) -> object:
    return transformers.AutoTokenizer.from_pretrained(written)


@settings(deadline=None, max_examples=30)
@given(text=texts)
def test_written_tokenizer_is_the_same(
    text: str, tiny: Tiny, tokenizer: Tokenizer, written: Path
) -> None:
    again = Tokenizer.read(written, tiny.kind)
    assert again.digest == tokenizer.digest
    assert again.template == tokenizer.template
    assert again.encode([text])[0].ids == tokenizer.encode([text])[0].ids


def old_files(folder: Path) -> Path:
    """``vocab.json`` and ``merges.txt`` of a byte-level BPE."""
    TINY["byte-level BPE"].write(folder)
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(data["model"]["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in data["model"]["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return folder


def test_robertas_old_files_are_read(tmp_path: Path) -> None:
    whole = Tokenizer.read(TINY["byte-level BPE"].write(tmp_path / "whole"), BYTE_BPE)
    old = Tokenizer.read(old_files(tmp_path / "old"), BYTE_BPE)
    text = " ".join(SENTENCES) + "</s>"
    assert old.template == whole.template
    assert old.encode([text])[0].ids == whole.encode([text])[0].ids
    (tmp_path / "old" / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    spaced = Tokenizer.read(tmp_path / "old", BYTE_BPE)
    assert spaced.encode(["the"])[0].ids == old.encode([" the"])[0].ids


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "merges.txt").unlink(), "vocab.json: a vocab.json without its merges.txt"),
        (lambda f: (f / "merges.txt").write_text("a b c\n"), "merges.txt: a line that isn't two"),
        (lambda f: (f / "merges.txt").write_text("a nowhere\n"), "can't be read"),
        (lambda f: (f / "vocab.json").write_text("[]"), "no object of tokens and ids"),
        (lambda f: (f / "vocab.json").write_text("{}"), "can't be read"),
        (
            lambda f: (f / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT"}'),
            "vocab.json alone doesn't say how GPT cuts text",
        ),
    ],
)
def test_damaged_old_file_is_refused(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    damage(old_files(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.read(tmp_path, BYTE_BPE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sentencepieces_table_of_characters_is_followed(tmp_path: Path) -> None:
    """The table makes "uu" of each "a"."""
    units = [0] * 256
    units[1] = 1 << 31  # the place of the text
    units[ord("a")] = ord("a") | 256 | ((ord("a") ^ 1) << 10)
    table = b"".join(unit.to_bytes(4, "little") for unit in (len(units) * 4, *units)) + b"uu\0"
    made = TINY["Unigram"].make()
    data = json.loads(made.to_str())
    normalizer = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    data["normalizer"] = normalizer
    (tmp_path / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    (found,) = Tokenizer.read(tmp_path).encode(["a cat"])
    (expected,) = Backend.from_str(json.dumps(data)).encode_batch(
        ["a cat"], add_special_tokens=False
    )
    assert found.ids == expected.ids
    assert found.offsets[0][0] == 0
    assert {start for start, _ in found.offsets} == {0, 2, 3, 4}
