"""Our tokenizer equals transformers' on any text, and never reads text as special tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE, WordLevel, WordPiece
from tokenizers.pre_tokenizers import WhitespaceSplit

from onelayer.base.errors import CheckpointError
from onelayer.tokens.splitters import WithWords
from onelayer.tokens.tokenizer import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "The", "cat", "##s", "na", "##ive", "##ïve", "猫", "坐", "e", "é", "[", "]", "sep"]
WORDS += ["SEP", "cls", "CLS", "mask", "MASK", "\u2028", "!", "\u0e01", "ß", "##ß", "i", "\u0307"]
VOCABULARY = SPECIALS + WORDS

# Any Unicode text, with characters of the vocabulary and the normalizer more often. Not BERT's
# special tokens: transformers takes them in a text for real ones, and ours doesn't (tested below).
texts = (
    st.lists(
        st.text(max_size=4)
        | st.sampled_from([*WORDS, " ", "\t", "\u200b", "\u00a0", "\ufffd", "İ", "é"])
    )
    .map("".join)
    .filter(lambda text: not any(special in text for special in SPECIALS))
)


def folder_with(folder: Path, flags: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    if flags is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(flags), encoding="utf-8")
    return folder


CASES: dict[str, dict[str, Any]] = {
    "uncased": {"do_lower_case": True},
    "cased": {"do_lower_case": False},
    "accents kept": {"do_lower_case": True, "strip_accents": False},
    "characters of Chinese kept together": {"tokenize_chinese_chars": False},
}


@pytest.fixture(scope="module", params=CASES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Any]:
    """Ours and transformers', read from the same files."""
    folder = folder_with(tmp_path_factory.mktemp("tokenizer"), CASES[request.param])
    return Tokenizer.read(folder), transformers.BertTokenizer.from_pretrained(folder)


@pytest.mark.slow
@settings(deadline=None)
@given(text=texts)
def test_text_tokens_equal_transformers(pair: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = pair
    expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
    (found,) = ours.encode([text])
    assert found.ids == expected["input_ids"]
    assert found.offsets == expected["offset_mapping"]
    assert all(0 <= start < end <= len(text) for start, end in found.offsets)


def by_word(tokenizer: Tokenizer, words: Sequence[str]) -> WithWords:
    """The pieces of words, which stand in a text with a space between them."""
    ends = list(accumulate(len(word) + 1 for word in words))
    spans = [(end - 1 - len(word), end - 1) for end, word in zip(ends, words, strict=True)]
    (found,) = tokenizer.encode_words([" ".join(words)], [spans])
    return found


@pytest.mark.slow
@settings(deadline=None)
@given(words=st.lists(texts))
def test_word_tokens_equal_transformers(pair: tuple[Tokenizer, Any], words: list[str]) -> None:
    ours, theirs = pair
    found = by_word(ours, words)
    expected = theirs(words, is_split_into_words=True, add_special_tokens=False)
    assert found.ids == expected["input_ids"]
    assert found.word_ids == expected.word_ids(0)


@settings(deadline=None)
@given(text=st.text(st.characters(categories=["Cs", "L", "P", "Zs"])))
def test_lone_surrogates_are_tokenized(pair: tuple[Tokenizer, Any], text: str) -> None:
    (found,) = pair[0].encode([text])
    assert all(end <= len(text) for _, end in found.offsets)
    by_word(pair[0], [text])


def test_special_ids_vocabulary_size_and_case_are_known(tmp_path: Path) -> None:
    tokenizer = Tokenizer.read(folder_with(tmp_path))
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id)
    assert ids == (0, 1, 2, 3)
    assert tokenizer.vocab_size == len(VOCABULARY)
    assert tokenizer.lowercases
    assert not Tokenizer.read(folder_with(tmp_path, {"do_lower_case": False})).lowercases


def test_offsets_count_characters(tmp_path: Path) -> None:
    text = "😀 nai\u0308ve 猫坐"
    (found,) = Tokenizer.read(folder_with(tmp_path)).encode([text])
    assert [text[start:end] for start, end in found.offsets] == [
        "😀",
        "na",
        "i\u0308ve",
        "猫",
        "坐",
    ]


@pytest.mark.parametrize("flags", [{"do_lower_case": True}, {"do_lower_case": False}])
@pytest.mark.parametrize("again", ["as read", "written and read"])
def test_special_tokens_in_a_text_are_plain_text(
    flags: dict[str, Any], again: str, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.read(folder_with(tmp_path / "a", flags))
    if again == "written and read":
        (tmp_path / "b").mkdir()
        tokenizer.write(tmp_path / "b", max_length=64)
        tokenizer = Tokenizer.read(tmp_path / "b")
    (found,) = tokenizer.encode(["the [SEP] cat[MASK][CLS] [PAD]"])
    words = by_word(tokenizer, ["the", "[SEP]", "cat", "[MASK][CLS]", "[PAD]"])
    specials = {VOCABULARY.index(token) for token in SPECIALS if token != "[UNK]"}
    assert not specials & {*found.ids, *words.ids}
    assert words.word_ids[:4] == [0, 1, 1, 1]


def test_added_special_tokens_are_recognised(tmp_path: Path) -> None:
    theirs = transformers.BertTokenizer.from_pretrained(folder_with(tmp_path))
    theirs.add_special_tokens({"additional_special_tokens": ["[E1]"]})
    theirs.save_pretrained(tmp_path)
    tokenizer = Tokenizer.read(tmp_path)
    text = "the [E1] cat [SEP]"
    assert (
        tokenizer.encode([text])[0].ids[:3]
        == theirs(text, add_special_tokens=False)["input_ids"][:3]
    )
    assert tokenizer.vocab_size == len(VOCABULARY) + 1


def test_truncation_and_padding_of_tokenizer_json_are_ignored(tmp_path: Path) -> None:
    folder_with(tmp_path)
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    theirs.backend_tokenizer.enable_truncation(4)
    theirs.backend_tokenizer.enable_padding(length=8)
    theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    short, long = Tokenizer.read(tmp_path).encode(["the", "the cat " * 5])
    assert (len(short.ids), len(long.ids)) == (1, 10)


@pytest.mark.parametrize("flags", CASES.values(), ids=CASES)
def test_transformers_reads_our_tokenizer(flags: dict[str, Any], tmp_path: Path) -> None:
    ours = Tokenizer.read(folder_with(tmp_path / "a", flags))
    (tmp_path / "b").mkdir()
    ours.write(tmp_path / "b", max_length=64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    text = "The naïve cats 猫坐 É!"
    assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode([text])[0].ids
    whole = theirs(text, "cat")["input_ids"]
    assert whole[0] == ours.cls_id
    assert whole.count(ours.sep_id) == 2
    assert theirs.model_max_length == 64
    assert (tmp_path / "b" / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1] == VOCABULARY


def test_tokenizer_config_overrides_tokenizer_json(tmp_path: Path) -> None:
    (tmp_path / "cased").mkdir()
    Tokenizer.read(folder_with(tmp_path / "a", {"do_lower_case": False})).write(
        tmp_path / "cased", max_length=64
    )
    flags = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (tmp_path / "cased" / "tokenizer_config.json").write_text(json.dumps(flags))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "cased")
    (found,) = Tokenizer.read(tmp_path / "cased").encode(["THE"])
    assert found.ids == theirs("THE", add_special_tokens=False)["input_ids"]


def test_vocabulary_with_bom_and_crlf_is_read(tmp_path: Path) -> None:
    plain = Tokenizer.read(folder_with(tmp_path))
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    marked = Tokenizer.read(tmp_path)
    assert marked.vocab_size == plain.vocab_size
    assert marked.encode(["the cats"])[0].ids == plain.encode(["the cats"])[0].ids


def backend(folder: Path, model: Any) -> None:
    made = Backend(model)
    made.pre_tokenizer = WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "vocab.txt").unlink(), "holds no tokenizer"),
        (lambda f: (f / "vocab.txt").write_text(""), "an empty vocabulary"),
        (lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe\x00"), "isn't UTF-8 text"),
        (lambda f: (f / "vocab.txt").write_text("the\ncat\n"), "without [CLS], the cls_token"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json: holds no model"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer.json:1:2: isn't JSON"),
        (lambda f: backend(f, BPE()), "leaves out unknown characters"),
        (lambda f: backend(f, WordLevel({"a": 0}, "a")), "a WordLevel tokenizer"),
        (
            lambda f: backend(f, WordPiece({token: i for i, token in enumerate(SPECIALS)})),
            "takes '[CLS]' in a user's text for the real one",
        ),
        (lambda f: folder_with(f, {"do_lower_case": "yes"}), "do_lower_case is 'yes'"),
        (lambda f: folder_with(f, {"cls_token": 7}), "cls_token is 7"),
        (
            lambda f: folder_with(f, {"tokenizer_class": "BertJapaneseTokenizer"}),
            "doesn't say how BertJapaneseTokenizer cuts text",
        ),
    ],
)
def test_damaged_tokenizer_is_refused_in_one_line(
    damage: Any, message: str, tmp_path: Path
) -> None:
    damage(folder_with(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.read(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
