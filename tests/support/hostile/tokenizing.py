"""Hostile tokenizer files and records: false, malicious or endless."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.hostile.case import RECORD, RECORD_OF_MODEL, WORDS, Case, edit_json, model, write_json

TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": None,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: number for number, word in enumerate(WORDS)},
    },
}
NAMELESS = {key: value for key, value in TOKENIZER["model"].items() if key != "type"} | {
    "merges": []
}
BOMB = {"Regex": "(a+)+$"}
NORMALIZERS: dict[str, Any] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}] * 1000}
DEEP: dict[str, Any] = {"type": "NFKC"}
for _ in range(20):
    DEEP = {"type": "Sequence", "normalizers": [DEEP]}
SPLIT = {"type": "Split", "pattern": BOMB, "behavior": "Isolated", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def made(name: str, says: str, /, **changes: Any) -> Case:
    """A ``tokenizer.json`` with other components."""
    return model(
        f"tokenizer.json: {name}",
        says,
        lambda folder: write_json(folder / "tokenizer.json", TOKENIZER | changes),
    )


def pieces(name: str, says: str, /, **changes: Any) -> Case:
    """A ``tokenizer.json`` with another model."""
    return made(name, says, model=TOKENIZER["model"] | changes)


METASPACE: dict[str, Any] = {
    "normalizer": None,
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        ],
    },
    "decoder": None,
}
UNIGRAM: dict[str, Any] = {
    "type": "Unigram",
    "unk_id": WORDS.index("[UNK]"),
    "vocab": [[word, -1.0] for word in WORDS],
    "byte_fallback": False,
}
BPE: dict[str, Any] = {
    "type": "BPE",
    "dropout": None,
    "unk_token": "[UNK]",
    "vocab": {word: number for number, word in enumerate(WORDS)},
    "merges": [],
}


def unigram(name: str, says: str, parts: dict[str, Any] | None = None, /, **changes: Any) -> Case:
    """A ``tokenizer.json`` of Unigram, with other components or another model."""
    changed = METASPACE | (parts or {})
    return made(f"Unigram, {name}", says, **changed, model=UNIGRAM | changes)


def bpe(name: str, says: str, parts: dict[str, Any] | None = None, /, **changes: Any) -> Case:
    changed = METASPACE | (parts or {})
    return made(f"BPE, {name}", says, **changed, model=BPE | changes)


def charsmap(name: str, says: str, units: Sequence[int], texts: bytes, size: int = -1) -> Case:
    """SentencePiece's table of characters: a trie of 32-bit units, and texts."""
    trie = b"".join(unit.to_bytes(4, "little") for unit in units)
    data = (len(trie) if size < 0 else size).to_bytes(4, "little") + trie + texts
    table = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}
    return unigram(f"a table of characters {name}", says, {"normalizer": table})


def template(name: str, piece: Any) -> Case:
    """A template of one piece."""
    processor = {"type": "TemplateProcessing", "pair": [piece], "special_tokens": {}}
    return made(
        f"a template with {name}", "damaged", post_processor=processor | {"single": [piece]}
    )


def trie(*, node: int = 0, leaf: int = 1 << 31) -> list[int]:
    """A trie of one block in which the letter a leads to ``leaf``."""
    units = [0] * 256
    units[0] = node
    units[ord("a")] = ord("a") | 256 | ((ord("a") ^ 1) << 10)
    units[1] = leaf
    return units


def written(file: str, name: str, says: str, content: bytes | Callable[[Path], object]) -> Case:
    def spoil(folder: Path) -> None:
        if callable(content):
            content(folder / file)
        else:
            (folder / file).write_bytes(content)

    return model(f"{file}: {name}", says, spoil)


def settings(name: str, says: str, /, **changes: Any) -> Case:
    return model(
        f"tokenizer_config.json: {name}",
        says,
        lambda folder: write_json(folder / "tokenizer_config.json", changes),
    )


def vocabulary(*without: str, **more: int) -> dict[str, int]:
    return {w: n for n, w in enumerate(WORDS) if w not in without} | more


def sparse(size: int) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return write


def token(content: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content, **flags}


TOKENIZERS = [
    made("a regex bomb that splits", "Split", pre_tokenizer=SPLIT),
    made(
        "a regex bomb among others",
        "Split",
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, SPLIT]},
    ),
    made(
        "a regex bomb that replaces",
        "Replace",
        normalizer={"type": "Replace", "pattern": BOMB, "content": "b"},
    ),
    made(
        "a replacement that lengthens the text",
        "Replace",
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": letter}, "content": letter * 1000}
                for letter in "aab"
            ],
        },
    ),
    made(
        "text that is put before", "Prepend", normalizer={"type": "Prepend", "prepend": "a" * 10**6}
    ),
    made(
        "a table of characters",
        "Precompiled",
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    ),
    made("bytes for characters", "ByteLevel", pre_tokenizer=BYTES),
    written(
        "tokenizer.json",
        "sequences 100,000 deep",
        "nested too deeply",
        b'{"normalizer": ' + b'{"type": "Sequence", "normalizers": [' * 100_000,
    ),
    made("an unknown component", "Evil", pre_tokenizer={"type": "Evil", "module": "os"}),
    made("a component that is a name", "pre_tokenizer", pre_tokenizer="evil.py"),
    made(
        "a post-processor without its fields",
        "a damaged RobertaProcessing",
        post_processor={"type": "RobertaProcessing"},
    ),
    made(
        "a decoder with a regex bomb",
        "Replace",
        decoder={"type": "Replace", "pattern": BOMB, "content": ""},
    ),
    made(
        "WordLevel",
        "WordLevel",
        model={"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary()},
    ),
    made("BPE without its type", "must be empty", model=NAMELESS),
    unigram("a score that is no number", "the score of", vocab=[["[UNK]", float("nan")]], unk_id=0),
    unigram("an endless score", "the score of", vocab=[["[UNK]", float("inf")]], unk_id=0),
    unigram("a score that is text", "the score of", vocab=[["[UNK]", "1"]], unk_id=0),
    unigram("no unknown piece", "unk_id is None", unk_id=None),
    unigram("an unknown piece out of range", "unk_id is 4000", unk_id=4000),
    unigram("an empty vocabulary", "unk_id is 0", unk_id=0, vocab=[]),
    unigram("a vocabulary of objects", "no list of pieces", vocab=[{"a": 1}]),
    unigram("an empty piece", "an empty token", vocab=[*UNIGRAM["vocab"], ["", 5.0]]),
    unigram("a piece of a megabyte", "characters", vocab=[*UNIGRAM["vocab"], ["a" * 10**6, -1.0]]),
    unigram(
        "more pieces than the weights have", "match the weights", vocab=[*UNIGRAM["vocab"]] * 9
    ),
    unigram(
        "another mark",
        "a Metaspace with",
        {"pre_tokenizer": {"type": "Metaspace", "replacement": "a", "prepend_scheme": "first"}},
    ),
    unigram("a regex bomb that splits", "a Split with a pattern", {"pre_tokenizer": SPLIT}),
    unigram(
        "a regex bomb that replaces",
        "a Replace with a pattern",
        {"normalizer": {"type": "Replace", "pattern": BOMB, "content": "b"}},
    ),
    unigram(
        "a replacement that lengthens the text",
        "lengthens",
        {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}},
    ),
    unigram(
        "a replacement of nothing",
        "a Replace with a pattern",
        {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": ""}},
    ),
    unigram("a thousand normalizers", "1,000 components", {"normalizer": NORMALIZERS}),
    unigram("sequences 20 deep", "nested too deeply", {"normalizer": DEEP}),
    unigram(
        "a table of characters that isn't base64",
        "isn't base64",
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!!!!"}},
    ),
    unigram(
        "a table of characters that is a list",
        "no text",
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": []}},
    ),
    charsmap("that is cut off", "in its size", [0] * 256, b"", 1 << 20),
    charsmap("without a trie", "in its size", [], b"abc\0"),
    charsmap("with a node out of range", "in a node", trie(node=1 << 20), b"abc\0"),
    charsmap("with a text out of range", "in a text", trie(leaf=(1 << 31) | 4000), b"abc\0"),
    charsmap("with half a letter", "in a text", trie(leaf=(1 << 31) | 1), "é\0".encode()),
    charsmap("that isn't UTF-8", "in its texts", trie(), b"\xff\0"),
    charsmap("that makes pages of a letter", "bytes of a character", trie(), b"b" * 10**6 + b"\0"),
    template("special tokens that it doesn't list", {"SpecialToken": {"id": "evil", "type_id": 0}}),
    template("a piece that is a name", "evil"),
    template("a piece of two kinds", {"SpecialToken": {}, "Sequence": {}}),
    template("a segment that is text", {"Sequence": {"id": "A", "type_id": "0"}}),
    made(
        "two post-processors",
        "two post-processors",
        post_processor={
            "type": "Sequence",
            "processors": [{"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}]
            * 2,
        },
    ),
    bpe("dropout", "dropout is 0.5", dropout=0.5),
    bpe("merges of unknown tokens", "can't be read", merges=[["no", "where"]]),
    bpe("merges that are numbers", "can't be read", merges=[1, 2]),
    bpe("a list as vocabulary", "no object of tokens", vocab=[]),
    bpe("an unknown token outside the vocabulary", "without 'evil'", unk_token="evil"),
    bpe("no unknown token", "leaves out unknown characters", unk_token=None),
    bpe("ids beyond 32 bits", "can't be read", vocab=BPE["vocab"] | {"far": 10**12}),
    bpe("the end of a word marked", "end_of_word_suffix", end_of_word_suffix="</w>"),
    bpe(
        "special tokens that a text may hold",
        "in a user's text for the real one",
        {"pre_tokenizer": {"type": "WhitespaceSplit"}},
        ignore_merges=True,
    ),
    made("a model that is a list", "model", model=[]),
    made("no model", "model", model=None),
    pieces("no [CLS]", "without [CLS]", vocab=vocabulary("[CLS]")),
    pieces("no [UNK]", "without [UNK]", vocab=vocabulary("[UNK]")),
    pieces("an empty vocabulary", "without [CLS]", vocab={}),
    pieces("ids out of range", "doesn't match the weights", vocab=vocabulary(far=4_000_000_000)),
    pieces("ids beyond 32 bits", "can't be read", vocab=vocabulary(far=10**12)),
    pieces("negative ids", "can't be read", vocab=vocabulary(far=-1)),
    pieces("ids that are text", "can't be read", vocab={"[CLS]": "2"}),
    pieces("words of any length", "max_input_chars_per_word", max_input_chars_per_word=10**9),
    pieces(
        "a prefix of a megabyte", "continuing_subword_prefix", continuing_subword_prefix="#" * 10**6
    ),
    made(
        "an added token with a huge id",
        "doesn't match the weights",
        added_tokens=[token("far", 10**9)],
    ),
    made(
        "150,000 tokens added",
        "memory",
        added_tokens=[token(f"t{i}", 20 + i) for i in range(150_000)],
    ),
    made("tokens that are numbers", "added_tokens", added_tokens=[1, 2]),
    written("tokenizer.json", "half a gigabyte", "MB", sparse(500 << 20)),
    written("tokenizer.json", "cut off", "isn't JSON", b'{"version": "1.0", "model": {"type": "Wo'),
    written("tokenizer.json", "lists 100,000 deep", "nested too deeply", b"[" * 100_000),
    written("tokenizer.json", "another encoding", "isn't UTF-8", b'{"model": "\xff"}'),
    written(
        "tokenizer.json", "a number of 10,000 digits", "digits", b'{"a": ' + b"9" * 10_000 + b"}"
    ),
    written("tokenizer.json", "empty", "isn't JSON", b""),
    written("vocab.txt", "UTF-16", "isn't UTF-8", "\n".join(WORDS).encode("utf-16")),
    written("vocab.txt", "NUL bytes", "NUL", b"[PAD]\n\0\n"),
    written("vocab.txt", "a line of 40 MB", "MB", b"a" * (40 << 20)),
    written("vocab.txt", "gigabytes", "MB", sparse(8 << 30)),
    written("vocab.txt", "ten million lines", "lines", b"\n" * 10**7),
    written("vocab.txt", "empty", "empty", b""),
    written("vocab.txt", "one word", "without [CLS]", b"a"),
    written(
        "vocab.txt",
        "more words than the weights have",
        "match the weights",
        "\n".join([*WORDS, "x"]).encode(),
    ),
    settings("code of its own", "auto_map", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}),
    settings("a class of its own", "evil.py--Tokenizer", tokenizer_class="evil.py--Tokenizer"),
    settings("a class that is a number", "tokenizer_class", tokenizer_class=7),
    settings("a token that is a list", "cls_token is", cls_token=["[CLS]"]),
    settings("a token outside the vocabulary", "without evil", cls_token="evil"),
    settings("a flag that is text", "do_lower_case is", do_lower_case="yes"),
]


CALIBRATION = {"rows": 100, "temperature": 1.0, "gold": [0.5], "answers": [[0.5, 100, 1]]}

# onelayer.json -----------------------------------------------------------------------------------


def record(name: str, says: str, change: Callable[[dict[str, Any]], object]) -> Case:
    return model(
        f"onelayer.json: {name}",
        says,
        lambda folder: edit_json(folder / "onelayer.json", change),
        RECORD_OF_MODEL,
    )


def task(name: str, says: str, /, **changes: Any) -> Case:
    return record(name, says, lambda r: r.update(task=RECORD["task"] | changes))


def tags(name: str, says: str, /, **changes: Any) -> Case:
    tag = {"name": "tag", "scheme": "plain", "labels": ["no", "yes"], "joints": {}}
    tag |= {"max_length": 8, "stride": 2}
    return record(f"tags of {name}", says, lambda r: r.update(task=tag | changes))


def layout(name: str, says: str, /, **changes: Any) -> Case:
    return record(name, says, lambda r: r.update(layout=RECORD["layout"] | changes))


RECORDS = [
    record("from the future", "format 99", lambda r: r.update(format=99)),
    record("a format that is text", "format", lambda r: r.update(format="1; evil")),
    record("no task", "task", lambda r: r.pop("task")),
    record("a task that is a name", "task", lambda r: r.update(task="classify")),
    record("no layout", "layout", lambda r: r.pop("layout")),
    record("a layout that is a list", "layout", lambda r: r.update(layout=[])),
    task("an unknown task", "unknown task", name="os.system"),
    task("a task that is a list", "unknown task", name=["classify"]),
    task("an unknown field", "does not fit", evil="__import__"),
    task("labels that are numbers", "labels", labels=[1, 2]),
    task("labels that are text", "labels", labels="no"),
    model(
        "onelayer.json: an extra label",
        "fit the task",
        lambda f: edit_json(f / "onelayer.json", lambda r: r["task"]["labels"].append("maybe")),
        RECORD_OF_MODEL[1:],
    ),
    task("a label twice", "twice", labels=["no", "no"]),
    task("a length that is text", "max_length", max_length="32"),
    task("a length of zero", "max_length", max_length=0),
    task("a length beyond the model", "max_length", max_length=10**9),
    task("a threshold that is text", "threshold", threshold="high", multi_label=True),
    task("a threshold of NaN", "threshold", threshold=float("nan"), multi_label=True),
    task("a missing threshold", "threshold has 1", threshold=[0.5], multi_label=True),
    task("a calibration that is text", "does not fit", calibration="evil"),
    task("an incomplete calibration", "does not fit", calibration={"rows": 1}),
    task(
        "a temperature that is text",
        "temperature",
        calibration=CALIBRATION | {"temperature": "hot"},
    ),
    task("a temperature of zero", "temperature", calibration=CALIBRATION | {"temperature": 0}),
    record("a length that is missing", "max_length", lambda r: r["task"].pop("max_length")),
    tags("an unknown scheme", "Scheme", scheme="evil"),
    tags("joints of a wrong type", "Joints", joints=7),
    tags("windows that never advance", "stride", stride=10**6),
    layout("columns that are a list", "columns", columns=["text"]),
    layout("a column that is a number", "columns", columns={"text": 7}),
    layout("a separator that is a list", "separator", separator=[]),
    layout("a first option that is text", "first_option", first_option="1"),
    model(
        "onelayer.json: a list",
        "isn't a JSON object",
        lambda f: write_json(f / "onelayer.json", []),
        RECORD_OF_MODEL,
    ),
    model(
        "onelayer.json: lists 100,000 deep",
        "nested too deeply",
        lambda f: (f / "onelayer.json").write_text("[" * 100_000),
    ),
]

CASES = TOKENIZERS + RECORDS
