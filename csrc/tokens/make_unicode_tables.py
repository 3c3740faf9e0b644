"""Writes unicode_tables.inc: what the tokenizers library and Python know of each code point.

    python csrc/tokens/make_unicode_tables.py > csrc/tokens/unicode_tables.inc

Rust's crates, which do the work in the tokenizers library, hold several versions of Unicode, and so
do Python's releases. So nothing is looked up in Unicode's files: the library is run on every code
point, and what it does becomes the table. The words of a text (``tokens/words.py``) follow the
``unicodedata`` of Python 3.11, Unicode 14: characters that later versions add count as letters.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from onelayer.tokens.words import _KINDS

POINTS = [*range(0xD800), *range(0xE000, 0x110000)]
"""Every code point that a text can have."""
APART = "\ua000"
"""A letter that no rule changes and that changes no neighbour."""
KINDS = "lmjaes"
HANGUL = range(0xAC00, 0xAC00 + 11172)
BITS = (
    *("white", "unclean", "nonspacing", "combining", "punctuation", "numeric", "word"),
    *("letter", "number", "space", "ideograph", "alphanumeric", "python_space"),
)
"""One bit each, from the lowest on; then three bits of the kind, and from bit 24 on the class."""

Mapping = dict[int, str]


def mapped(normalizer: normalizers.Normalizer, points: Sequence[int] = POINTS) -> Mapping:
    """What a normalizer makes of each code point that it changes."""
    text = APART.join(map(chr, points))
    found = normalizer.normalize_str(text).split(APART)
    made = dict(zip((p for p in points if chr(p) != APART), no_apart(found, points), strict=True))
    return {point: text for point, text in made.items() if text != chr(point)}


def no_apart(found: list[str], points: Sequence[int]) -> Iterable[str]:
    """Without the two empty parts that the separator itself makes."""
    if (at := ord(APART)) in points:
        place = points.index(at)
        return [*found[:place], *found[place + 2 :]]
    return found


def kept(rule: pre_tokenizers.PreTokenizer) -> set[int]:
    """The code points that a rule leaves, where it removes what it finds."""
    pieces = rule.pre_tokenize_str("".join(map(chr, POINTS)))
    return {POINTS[i] for _, (begin, end) in pieces for i in range(begin, end)}


def found_by(pattern: str) -> set[int]:
    """The code points that a regular expression finds."""
    return set(POINTS) - kept(pre_tokenizers.Split(Regex(pattern), "removed"))


def words() -> set[int]:
    """The code points that continue a word of letters for the library's ``\\w``."""
    text = "".join(f"a{chr(point)}" for point in POINTS)
    pieces = pre_tokenizers.Whitespace().pre_tokenize_str(text)
    return {
        POINTS[i // 2]
        for _, (begin, end) in pieces
        if end - begin > 1
        for i in range(begin | 1, end, 2)
    }


def numeric() -> set[int]:
    """The code points that are digits or numbers: the pieces take turns."""
    pieces = pre_tokenizers.Digits().pre_tokenize_str("".join(map(chr, POINTS)))
    return {POINTS[i] for _, (begin, end) in pieces[1::2] for i in range(begin, end)}


def combining_classes(decomposed: Mapping) -> dict[int, int]:
    """The canonical combining classes, from the order into which the library brings two marks."""
    examples: dict[int, int] = {}
    for point in POINTS:
        if point not in decomposed and (number := unicodedata.combining(chr(point))):
            examples.setdefault(number, point)
    low, high = min(examples), max(examples)
    nfd = normalizers.NFD()

    def swapped(pairs: list[tuple[int, int]]) -> list[bool]:
        texts = [chr(a) + chr(b) for a, b in pairs]
        found = nfd.normalize_str(APART.join(texts)).split(APART)
        return [text != given for text, given in zip(found, texts, strict=True)]

    changed = {*decomposed, *HANGUL, ord(APART)}
    plain = [point for point in POINTS if point not in changed]
    above = swapped([(point, examples[low]) for point in plain])
    below = swapped([(examples[high], point) for point in plain])
    marks = [p for p, a, b in zip(plain, above, below, strict=True) if a or b]
    classes = {}
    for number, example in examples.items():
        after = swapped([(point, example) for point in marks])
        before = swapped([(example, point) for point in marks])
        for point, a, b in zip(marks, after, before, strict=True):
            if not a and not b:
                classes[point] = number
    assert len(classes) == len(marks), "a class that Python doesn't know"
    return classes


def compositions(decomposed: Mapping) -> list[tuple[int, int, int]]:
    """The pairs that become one code point, without those of Hangul."""
    nfc = normalizers.NFC()
    found = []
    for point, text in decomposed.items():
        first, second = nfc.normalize_str(text[:-1]), text[-1]
        if len(first) == 1 and nfc.normalize_str(first + second) == chr(point) and len(text) > 1:
            found.append((ord(first), ord(second), point))
    return sorted(found)


def properties(decomposed: Mapping) -> list[int]:
    """The bits of each code point, surrogates included."""
    bert = normalizers.BertNormalizer
    off = {"clean_text": False, "handle_chinese_chars": False, "lowercase": False}
    stripped = mapped(bert(**off | {"strip_accents": True}))
    cleaned = mapped(bert(**off | {"clean_text": True, "strip_accents": False}))
    spaced = mapped(bert(**off | {"handle_chinese_chars": True, "strip_accents": False}))
    sets: dict[str, Iterable[int]] = {
        "white": set(POINTS) - kept(pre_tokenizers.WhitespaceSplit()),
        "unclean": [point for point, text in cleaned.items() if not text],
        "nonspacing": [p for p, text in stripped.items() if not text and p not in decomposed],
        "combining": [p for p, text in mapped(normalizers.StripAccents()).items() if not text],
        "punctuation": set(POINTS) - kept(pre_tokenizers.Punctuation("removed")),
        "numeric": numeric(),
        "word": words(),
        "letter": found_by(r"\p{L}"),
        "number": found_by(r"\p{N}"),
        "space": found_by(r"\s"),
        "ideograph": spaced,
        "alphanumeric": [point for point in POINTS if chr(point).isalnum()],
        "python_space": [point for point in POINTS if chr(point).isspace()],
    }
    bits = [0] * 0x110000
    for number, name in enumerate(BITS):
        for point in sets[name]:
            bits[point] |= 1 << number
    for point in POINTS:
        bits[point] |= KINDS.index(_KINDS[point]) << len(BITS)
    for point, number in combining_classes(decomposed).items():
        bits[point] |= number << 24
    # What cleaning leaves is a space exactly where the library sees white space.
    spaces = {point for point, text in cleaned.items() if text}
    assert spaces == {p for p in sets["white"] if p not in sets["unclean"]} - {0x20}
    return bits


def blocks(values: Sequence[int], size: int) -> tuple[list[int], list[int]]:
    """The number of each block's content, and the contents one after the other."""
    index: list[int] = []
    contents: dict[tuple[int, ...], int] = {}
    for start in range(0, len(values), size):
        index.append(contents.setdefault(tuple(values[start : start + size]), len(contents)))
    return index, [value for content in contents for value in content]


def array(name: str, kind: str, values: Iterable[int]) -> str:
    lines, line = [], ""
    for value in values:
        if len(line) + len(word := f"{value},") > 100:
            lines.append(line)
            line = ""
        line += word
    return f"inline constexpr {kind} {name}[] = {{\n" + "\n".join([*lines, line]) + "\n};\n"


def table(name: str, values: Sequence[int], size: int) -> str:
    index, contents = blocks(values, size)
    kinds = ["uint8_t" if max(some) < 256 else "uint16_t" for some in (index, contents)]
    return array(f"{name}_index", kinds[0], index) + array(f"{name}_values", kinds[1], contents)


def mapping_tables(mappings: dict[str, Mapping]) -> str:
    """A table for each mapping: where in a common array of code points a text stands. There its
    length precedes it."""
    texts: list[int] = [0]
    places: dict[str, int] = {}
    out = []
    for name, mapping in mappings.items():
        values = [0] * 0x30000  # nothing above is changed
        for point, text in mapping.items():
            if text not in places:
                places[text] = len(texts)
                texts += [len(text), *map(ord, text)]
            values[point] = places[text]
        out.append(table(name, values, 64))
    assert len(texts) < 1 << 16
    return array("mapped_texts", "uint32_t", texts) + "".join(out)


def main(write: Callable[[str], object] = sys.stdout.write) -> None:
    decomposed = {p: t for p, t in mapped(normalizers.NFD()).items() if p not in HANGUL}
    compatible = {p: t for p, t in mapped(normalizers.NFKD()).items() if p not in HANGUL}
    lower = mapped(normalizers.Lowercase())
    bits = properties(decomposed)
    distinct = sorted(set(bits))
    places = {value: number for number, value in enumerate(distinct)}
    write("// Made by make_unicode_tables.py; don't edit.\n")
    for number, name in enumerate(BITS):
        write(f"inline constexpr uint32_t {name}_bit = 1u << {number};\n")
    write(f"inline constexpr unsigned kind_shift = {len(BITS)}, class_shift = 24;\n")
    write(array("property_sets", "uint32_t", distinct))
    write(table("property", [places[value] for value in bits], 128))
    more = {p: t for p, t in compatible.items() if t != decomposed.get(p)}
    write(mapping_tables({"canonical": decomposed, "compatible": more, "lowercase": lower}))
    pairs = compositions(decomposed)
    for name, values in zip(("first", "second", "whole"), zip(*pairs, strict=True), strict=True):
        write(array(f"composed_{name}", "uint32_t", values))


if __name__ == "__main__":
    main()
