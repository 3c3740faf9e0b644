"""Tokenizers with every rule that a ``tokenizer.json`` may have, also with those that no published
encoder combines."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onelayer.tokens.tokenizer import Tokenizer
from support.tiny_tokenizers import TINY

Rules = dict[str, Any]
"""The content of a ``tokenizer.json``."""

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPELLINGS = {
    "①": "1",
    "½": "1/2",
    "ﬁ": "fi",
    "Ａ": "A",
    "ｶ": "カ",
    "\u3000": " ",
    "\u00a0": " ",
    "\r": "",
    "\n": " ",
    "\t": " ",
    "\x01": "",
    "é": "e",
    "e\u0301": "é",
    "©": "(c)",
    "\u200b": "",
    "\u200d": "",
    "क": "k",
    "각": "gag",
    "😀": ":)",
    "a": "a",
    "\u0301": "´",
    "🇩": "D",
    "\u0600": "#",
    "\u0e33": "am",
    "x\u0323": "y",
}
"""What the table of characters of one of them replaces."""


def charsmap(spellings: dict[str, str]) -> str:
    """SentencePiece's table of characters, in base64: a double array of darts-clone, and texts."""
    texts, units, taken = b"", [0] * 1024, {0}

    def place(at: int, entries: list[tuple[bytes, int]], label: int) -> None:
        """Puts the children of the unit ``at`` where all of them find room."""
        labels = sorted({key[0] if key else 0 for key, _ in entries})
        offset = next(
            block
            for block in range(256, 1 << 21)
            if not any((at ^ block ^ one) in taken for one in labels) and (at ^ block) >= 256
        )
        children = {one: at ^ offset ^ one for one in labels}
        units.extend([0] * (1024 * (1 + max(children.values()) // 1024) - len(units)))
        taken.update(children.values())
        units[at] = label | offset << 10 | (256 if 0 in children else 0)
        for one, child in children.items():
            inner = [(key[1:], value) for key, value in entries if key and key[0] == one]
            if one == 0:
                units[child] = 1 << 31 | next(value for key, value in entries if not key)
            else:
                place(child, inner, one)

    entries = []
    for key, text in spellings.items():
        entries.append((key.encode(), len(texts)))
        texts += text.encode() + b"\0"
    place(0, entries, 0)
    data = struct.pack(f"<{1 + len(units)}I", 4 * len(units), *units) + texts
    return base64.b64encode(data).decode()


def sequence(part: str, *components: Rules) -> Rules:
    return {"type": "Sequence", part: list(components)}


def normalizers(*components: Rules | str) -> Rules:
    parts = ({"type": one} if isinstance(one, str) else one for one in components)
    return {"normalizer": sequence("normalizers", *parts)}


def pre_tokenizers(*components: Rules | str) -> Rules:
    parts = ({"type": one} if isinstance(one, str) else one for one in components)
    return {"pre_tokenizer": sequence("pretokenizers", *parts)}


def strip(left: bool, right: bool) -> Rules:
    return {"type": "Strip", "strip_left": left, "strip_right": right}


def replace(kind: str, pattern: str, content: str) -> Rules:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(kind: str, pattern: str, behavior: str, invert: bool = False) -> Rules:
    rules = {"pattern": {kind: pattern}, "behavior": behavior, "invert": invert}
    return {"type": "Split", **rules}


def punctuation(behavior: str) -> Rules:
    return {"type": "Punctuation", "behavior": behavior}


def digits(individual: bool) -> Rules:
    return {"type": "Digits", "individual_digits": individual}


def metaspace(scheme: str, split_words: bool = True) -> Rules:
    rules = {"prepend_scheme": scheme, "split": split_words}
    return {"type": "Metaspace", "replacement": "▁", **rules}


def byte_level(prefix: bool, regex: bool) -> Rules:
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": True,
        "use_regex": regex,
    }


def bert(**flags: bool | None) -> Rules:
    usual = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    return {"normalizer": {"type": "BertNormalizer", **usual, "lowercase": True, **flags}}


def markers(first: int) -> Rules:
    """Tokens that are found in a text, by every rule for that."""
    rules = ("single_word", "lstrip", "rstrip", "normalized")
    texts = {"[E1]": "", "[E2]": "lstrip rstrip", "Naïve": "normalized", "cat": "single_word"}
    texts |= {"  ": "normalized", "[E1][": "normalized", "猫猫": "lstrip single_word"}
    return {
        "added_tokens": [
            {"id": first + i, "content": text, "special": False}
            | {rule: rule in wanted.split() for rule in rules}
            for i, (text, wanted) in enumerate(texts.items())
        ]
    }


def with_bytes(rules: Rules) -> None:
    """Adds the 256 tokens into which unknown characters fall."""
    vocabulary = rules["model"]["vocab"]
    for byte in range(256):
        token = f"<0x{byte:02X}>"
        if isinstance(vocabulary, dict):
            vocabulary[token] = len(vocabulary)
        else:
            vocabulary.append([token, -20.0])
    rules["model"]["byte_fallback"] = True


def _with_model(**changes: Any) -> Callable[[Rules], None]:
    return lambda rules: rules["model"].update(changes)


def _with(*parts: Rules) -> Callable[[Rules], None]:
    def change(rules: Rules) -> None:
        for part in parts:
            rules.update(part)

    return change


def _with_markers(rules: Rules) -> None:
    first = len(rules["model"]["vocab"]) + len(rules["added_tokens"])
    rules["added_tokens"] = [*rules["added_tokens"], *markers(first)["added_tokens"]]


BYTES, METASPACE = "byte-level BPE", "Metaspace BPE"
RULED: dict[str, tuple[str, tuple[Callable[[Rules], None], ...]]] = {
    "case kept": ("WordPiece", (_with(bert(lowercase=False)),)),
    "accents kept": ("WordPiece", (_with(bert(strip_accents=False)),)),
    "only accents": ("WordPiece", (_with(bert(strip_accents=True, lowercase=False)),)),
    "not cleaned": ("WordPiece", (_with(bert(clean_text=False)),)),
    "ideographs together": ("WordPiece", (_with(bert(handle_chinese_chars=False)),)),
    "short words": ("WordPiece", (_with_model(max_input_chars_per_word=4),)),
    "no prefix": ("WordPiece", (_with_model(continuing_subword_prefix=""),)),
    "WordPiece with markers": ("WordPiece", (_with_markers,)),
    "compatible": (
        "WordPiece",
        (
            _with(normalizers("NFKC", "Lowercase", "StripAccents", strip(True, True))),
            _with(pre_tokenizers("Whitespace")),
        ),
    ),
    "decomposed": (
        "WordPiece",
        (
            _with(normalizers("NFKD", strip(True, False))),
            _with(
                pre_tokenizers("WhitespaceSplit", punctuation("MergedWithPrevious"), digits(True))
            ),
        ),
    ),
    "contiguous": (
        "WordPiece",
        (
            _with({"normalizer": None}),
            _with(pre_tokenizers(punctuation("Contiguous"), digits(False))),
        ),
    ),
    "marks sorted": (
        "WordPiece",
        (_with(normalizers("NFD"), pre_tokenizers(punctuation("MergedWithNext"))),),
    ),
    "bytes as in Llama": (
        BYTES,
        (
            _with_model(ignore_merges=True),
            _with(pre_tokenizers(split("Regex", LLAMA, "Isolated"), byte_level(False, False))),
        ),
    ),
    "bytes with markers": (f"{BYTES} with a first space", (_with_markers,)),
    "bytes between digits": (BYTES, (_with(pre_tokenizers(digits(True), byte_level(True, True))),)),
    "bytes of whole texts": (BYTES, (_with(pre_tokenizers(byte_level(True, False))),)),
    "Metaspace BPE with bytes": (METASPACE, (_with_model(fuse_unk=False), with_bytes)),
    "Metaspace BPE at the beginning": (
        METASPACE,
        (_with_model(fuse_unk=False), _with({"pre_tokenizer": metaspace("first", False)})),
    ),
    "patterns": (
        METASPACE,
        (
            _with(
                normalizers("Nmt", replace("Regex", " {2,}", " "), replace("String", "the", "he"))
            ),
            _with(
                pre_tokenizers(
                    split("String", " ", "MergedWithNext"),
                    split("Regex", r"\s+", "Removed", True),
                    split("Regex", r"\s{2,}|[\n\r\t]", "MergedWithPrevious"),
                    metaspace("never"),
                )
            ),
        ),
    ),
    "GPT-2's pattern": (
        METASPACE,
        (_with(pre_tokenizers(split("Regex", GPT2, "Contiguous"), metaspace("always"))),),
    ),
    "Unigram with bytes": ("Unigram", (with_bytes,)),
    "Unigram with markers": ("Unigram that lowercases", (_with_markers,)),
    "Unigram of whole texts": ("Unigram", (_with({"pre_tokenizer": metaspace("first", False)}),)),
    "table of characters": (
        "Unigram",
        (
            _with(
                normalizers(
                    {"type": "Precompiled", "precompiled_charsmap": charsmap(SPELLINGS)},
                    replace("Regex", r"\s+", " "),
                )
            ),
        ),
    ),
}
"""By what is special about them: the tiny tokenizer that they are made of, and its changes."""


def read_ruled(name: str, folder: Path) -> Tokenizer:
    """Writes a tokenizer into a folder, and reads it."""
    base, changes = RULED[name]
    rules = json.loads(TINY[base].make().to_str())
    for change in changes:
        change(rules)
    (folder / "tokenizer.json").write_text(json.dumps(rules), encoding="utf-8")
    return Tokenizer.read(folder, TINY[base].kind)
