"""Tokenizers in C++ cut as those in Python, and refuse what isn't as export writes it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from functools import cache
from itertools import islice
from typing import Any

import pytest

from benchmarks.robustness.tokenizer_twins import (
    TextMaker,
    differences,
    tokenizers,
    vocabulary_of,
)
from onelayer.engines.native.library import library, why_no_library
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import Joints, split_words
from support.native_tokenizers import NativeRefusalError, NativeTokenizer, split_natively

pytestmark = pytest.mark.skipif(
    why_no_library() is not None, reason=why_no_library() or "the library is there"
)
SETTINGS = b'{"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}'
ROWS = 2000


CLUSTERS = ["\0\u0301\u0323", "a\0\u0301b", "x\u0323y", "ab\r\nc", "a\u0301\r\u0301", "\u0600a"]
"""Texts in which it matters where grapheme clusters end."""


@cache
def every_tokenizer() -> dict[str, Tokenizer]:
    return dict(tokenizers(installed=False))


@pytest.mark.slow
def test_pieces_and_words_are_those_of_python() -> None:
    found = []
    for name, tokenizer in every_tokenizer().items():
        maker = TextMaker(name, vocabulary_of(tokenizer))
        texts = [*map(str.encode, CLUSTERS), *islice(maker.texts(), 40)]
        different = differences(tokenizer, NativeTokenizer.of(tokenizer), texts, maker)
        found += [f"{name}: {line}" for line in different]
    assert not found, "\n".join(found[:5])


@pytest.mark.parametrize("joints", [Joints("-'.", "@"), Joints("", "'#"), Joints("'\u0301", "")])
def test_joints_keep_words_together(joints: Joints) -> None:
    texts = ("Berners-Lee's 3.5 @user '90s a-", "#tag's -x- '\u0301a b'\u0301c", "it's.@a-b-'c")
    for text in texts:
        assert split_natively(text.encode(), joints).points == split_words(text, joints)


def rules_of(name: str) -> dict[str, Any]:
    return json.loads(json.dumps(every_tokenizer()[name].to_json()))


def refusal(rules: dict[str, Any] | bytes, settings: bytes = SETTINGS, rows: int = ROWS) -> str:
    data = rules if isinstance(rules, bytes) else json.dumps(rules).encode()
    with pytest.raises(NativeRefusalError) as caught:
        NativeTokenizer(data, settings, rows)
    assert "\n" not in str(caught.value)
    return str(caught.value)


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("WordPiece", lambda r: r["model"].update(type="WordLevel"), "'WordLevel' tokenizer"),
        ("WordPiece", lambda r: r["model"]["vocab"].update(x=ROWS), "2000 rows"),
        ("WordPiece", lambda r: r["model"]["vocab"].update(x=-1), "id -1"),
        ("WordPiece", lambda r: r["model"]["vocab"].update(x="1"), "whole number"),
        ("WordPiece", lambda r: r["model"].update(unk_token="?"), "without '?', the unk_token"),
        ("WordPiece", lambda r: r["model"].update(max_input_chars_per_word=0), "must be 1 to"),
        ("WordPiece", lambda r: r.pop("post_processor"), "without post_processor"),
        ("WordPiece", lambda r: r["post_processor"].update(pair=[]), "neither [CLS] A [SEP]"),
        ("WordPiece", lambda r: r["added_tokens"][0].update(id=9), "the added token"),
        ("WordPiece", lambda r: r.update(normalizer={"type": "Prepend"}), "'Prepend' is not read"),
        ("WordPiece", lambda r: r.update(pre_tokenizer=[]), "is not an object"),
        ("byte-level BPE", lambda r: r["model"].update(dropout=0.1), "dropout"),
        ("byte-level BPE", lambda r: r["model"]["merges"].append(["q", "☃"]), "lacks"),
        ("byte-level BPE", lambda r: r["model"].update(end_of_word_suffix="$"), "not empty"),
        ("Unigram", lambda r: r["model"].update(unk_id=5000), "unk_id is 5000"),
        ("Unigram", lambda r: r["model"]["vocab"].append(["x"]), "without a score"),
        ("Unigram", lambda r: r["model"]["vocab"].extend([["x", 0.0]] * ROWS), "2000 rows"),
        ("Unigram", lambda r: r.update(normalizer=nested(9)), "nested too deeply"),
        ("Unigram", lambda r: r.update(normalizer=charsmap("AAAA")), "damaged, in its size"),
        ("Unigram", lambda r: r.update(normalizer=charsmap("!!")), "damaged, in its base64"),
    ],
)
def test_wrong_rules_are_refused_by_name(name: str, spoil: Spoil, says: str) -> None:
    rules = rules_of(name)
    spoil(rules)
    assert says in refusal(rules)


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "NFC"}
    for _ in range(depth):
        inner = {"type": "Sequence", "normalizers": [inner]}
    return inner


def charsmap(table: str) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": table}


def test_settings_that_contradict_the_rules_are_refused() -> None:
    flags = json.dumps(json.loads(SETTINGS) | {"do_lower_case": False}).encode()
    assert "do_lower_case" in refusal(rules_of("WordPiece"), flags)
    other = json.dumps(json.loads(SETTINGS) | {"cls_token": "the"}).encode()
    assert "cls_token" in refusal(rules_of("WordPiece"), other)


def test_damaged_json_is_refused() -> None:
    data = json.dumps(rules_of("WordPiece")).encode()
    for end in range(0, len(data) - 1, 97):
        refusal(data[:end])


def test_tokenize_without_a_model_fails_with_a_line() -> None:
    core, _ = library()
    assert core is not None
    n = ctypes.c_size_t(9)
    core.onelayer_tokenize.restype = ctypes.c_void_p
    core.onelayer_error.restype = ctypes.c_char_p
    text = (ctypes.c_size_t * 2)(0, 0)
    found = core.onelayer_tokenize(None, *map(ctypes.c_size_t, text), ctypes.byref(n))
    assert (found, n.value, core.onelayer_error()) == (None, 0, b"no model: it is NULL")
