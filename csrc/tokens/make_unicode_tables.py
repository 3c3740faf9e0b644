"""Writes unicode_tables.inc: what the tokenizers library and Python know of each code point.

    python csrc/tokens/make_unicode_tables.py > csrc/tokens/unicode_tables.inc

Rust's crates, which do the work in the tokenizers library, hold several versions of Unicode, and so
do Python's releases. So nothing is looked up in Unicode's files: the library is run on every code
point, and what it does becomes the table. The words of a text (``tokens/words.py``) follow the
``unicodedata`` of Python 3.11, Unicode 14: characters that later versions add count as letters.

Together the tables have 157 KB. They are packed to a seventh of that, which counts in a page that
loads the library, and unpacked at its start.
"""

from __future__ import annotations

import struct
import sys
import unicodedata
import zlib
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
    *("letter", "number", "space", "ideograph", "alphanumeric"),
)
"""One bit each, from the lowest on; then three bits of the kind, four of the cluster class, and two
of the conjunct class; from bit 24 on the combining class."""
CLUSTER = (
    *("other", "control", "cr", "lf", "extend", "zwj", "spacing", "prepend", "regional"),
    *("l", "v", "t", "lv", "lvt", "pictograph"),
)
CONJUNCT = ("none", "consonant", "linker", "extend")

Mapping = dict[int, str]


def mapped(normalizer: normalizers.Normalizer) -> Mapping:
    """What a normalizer makes of each code point that it changes."""
    text = APART.join(map(chr, POINTS))
    found = no_apart(normalizer.normalize_str(text).split(APART))
    made = dict(zip((p for p in POINTS if chr(p) != APART), found, strict=True))
    return {point: text for point, text in made.items() if text != chr(point)}


def no_apart(found: list[str]) -> list[str]:
    """Without the two empty parts that the separator itself makes."""
    if (at := ord(APART)) in POINTS:
        place = POINTS.index(at)
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
    lowest, highest = 0x334, 0x345  # of the classes 1 and 240
    nfd = normalizers.NFD()

    def swapped(pairs: list[tuple[int, int]]) -> list[bool]:
        texts = [chr(a) + chr(b) for a, b in pairs]
        found = nfd.normalize_str(APART.join(texts)).split(APART)
        return [text != given for text, given in zip(found, texts, strict=True)]

    changed = {*decomposed, *HANGUL, ord(APART)}
    plain = [point for point in POINTS if point not in changed]
    above = swapped([(point, lowest) for point in plain])
    below = swapped([(highest, point) for point in plain])
    marks = [p for p, a, b in zip(plain, above, below, strict=True) if a or b]
    examples: dict[int, int] = {}
    for point in marks:  # of those that the library knows
        examples.setdefault(unicodedata.combining(chr(point)), point)
    classes: dict[int, int] = {}
    for number, example in examples.items():
        after = swapped([(point, example) for point in marks])
        before = swapped([(example, point) for point in marks])
        for point, a, b in zip(marks, after, before, strict=True):
            if not a and not b:
                assert point not in classes
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


def charsmap(texts: dict[str, Iterable[int]], pair: str = "") -> normalizers.Normalizer:
    """A normalizer that replaces what begins with certain bytes, or the two bytes of ``pair``."""
    units, made, place = [0] * 1024, b"", 512
    units[0] = 256 << 10  # where the units of first bytes are
    for text, firsts in texts.items():
        units[place] = 1 << 31 | len(made)
        made += text.encode() + b"\0"
        for byte in firsts:
            at = 256 ^ byte
            units[at] = byte | 1 << 8 | (at ^ place) << 10
            if pair:
                units[at] = byte | (at ^ pair.encode()[1] ^ 768) << 10
                units[768] = pair.encode()[1] | 1 << 8 | (768 ^ place) << 10
        place += 1
    return normalizers.Precompiled(struct.pack("<1025I", 4096, *units) + made)


def clusters() -> tuple[dict[int, str], dict[int, str]]:
    """The class that each code point has in grapheme clusters, and in Indic conjuncts.

    The library splits a text into clusters for SentencePiece's table of characters only. If a
    cluster has less than six bytes, and begins with what the table holds, all of it is replaced.
    So whether an accent at the end is left out tells where the clusters are.
    """
    accent, joiner, vowel, consonant = "\u0301", "\u200d", "\u1161", "\u0915"
    others = [*range(1, 10), *range(11, 0x80), *(set(range(0xC2, 0xF5)) - {accent.encode()[0]})]
    any_byte, only_a = charsmap({"x": others}), charsmap({"b": b"a"})
    only_accent = charsmap({"m": accent.encode()[:1]}, accent)
    only_sign = charsmap({"c": "©".encode()[:1]})
    # Beyond plane 1 only tags and selectors are more than ideographs.
    points = [p for p in POINTS if 0 < p < 0x20000 or 0xE0000 <= p < 0xE1000]
    points.remove(ord("\n"))  # which stands between the texts

    def where(
        table: normalizers.Normalizer, before: str, after: str, holds: Callable[[str], bool]
    ) -> set[int]:
        text = "\n".join(f"{before}{chr(point)}{after}" for point in points)
        made = table.normalize_str(text).split("\n")
        return {point for point, text in zip(points, made, strict=True) if holds(text)}

    def kept(text: str) -> bool:
        return accent in text

    joins = where(only_a, "a", "", lambda text: text == "b")
    prepends = where(only_a, "", f"a{accent}", kept) - joins
    before_vowel = where(any_byte, "", vowel + accent, kept) - joins - prepends
    before_final = where(any_byte, "", f"\u11a8{accent}", kept) - joins - prepends
    syllables = set(HANGUL)
    found = {
        # No table can hold a NUL, so it isn't seen; it is a control character like the others.
        "control": where(only_accent, "", 2 * accent, lambda text: text.count("m") == 1) | {0},
        "spacing": joins,
        "extend": joins & where(any_byte, "©", f"{joiner}©{accent}", kept),
        "prepend": prepends,
        "pictograph": where(only_sign, f"©{joiner}", "", lambda text: joiner in text) - joins,
        "l": before_vowel - before_final,
        "v": before_vowel & before_final - syllables,
        "t": before_final - before_vowel - syllables,
        "lvt": syllables & before_final - before_vowel,
        "lv": syllables & before_vowel,
        "regional": range(0x1F1E6, 0x1F200),
        "zwj": [ord(joiner)],
        "cr": [ord("\r")],
        "lf": [ord("\n")],
    }
    virama = "\u094d"
    conjunct = {
        "extend": joins & where(any_byte, consonant + virama, consonant + accent, kept),
        "linker": joins & where(any_byte, consonant, consonant + accent, kept),
        "consonant": where(any_byte, "", virama + consonant + accent, kept) - joins - prepends,
    }
    return (
        {point: name for name, some in found.items() for point in some},
        {point: name for name, some in conjunct.items() for point in some},
    )


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
    }
    bits = [0] * 0x110000
    for number, name in enumerate(BITS):
        for point in sets[name]:
            bits[point] |= 1 << number
    for point in POINTS:
        bits[point] |= KINDS.index(_KINDS[point]) << len(BITS)
    for names, shift, classes in zip((CLUSTER, CONJUNCT), (3, 7), clusters(), strict=True):
        for point, name in classes.items():
            bits[point] |= names.index(name) << len(BITS) + shift
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


class Table:
    """Numbers of one, two or four bytes. Where it makes them smaller, the differences of neighbours
    are packed in place of the numbers."""

    def __init__(self, values: Iterable[int]) -> None:
        self.values = list(values)
        self.size = next(size for size in (1, 2, 4) if max(self.values) < 1 << 8 * size)
        planes = [self.planes(differences) for differences in (False, True)]
        self.differences = len(deflated(planes[1])) < len(deflated(planes[0]))
        self.packed = planes[self.differences]

    def planes(self, differences: bool) -> bytes:
        """The lowest bytes of all numbers, then the next ones: each kind repeats itself more."""
        before = [0, *self.values[:-1]] if differences else [0] * len(self.values)
        numbers = [(a - b) % (1 << 8 * self.size) for a, b in zip(self.values, before, strict=True)]
        return bytes(n >> 8 * i & 255 for i in range(self.size) for n in numbers)

    def declared(self, name: str) -> str:
        return f"    uint{8 * self.size}_t {name}[{len(self.values)}];\n"


def deflated(data: bytes) -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return packing.compress(data) + packing.flush()


def array(values: Iterable[int]) -> str:
    lines, line = [], ""
    for value in values:
        if len(line) + len(word := f"{value},") > 100:
            lines.append(line)
            line = ""
        line += word
    return "\n".join([*lines, line])


def blocks_of(name: str, values: Sequence[int], size: int) -> dict[str, Table]:
    index, contents = blocks(values, size)
    return {f"{name}_index": Table(index), f"{name}_values": Table(contents)}


def mapping_tables(mappings: dict[str, Mapping]) -> dict[str, Table]:
    """A table for each mapping: where in a common array of code points a text stands. There its
    length precedes it."""
    texts: list[int] = [0]
    places: dict[str, int] = {}
    found: dict[str, Table] = {}
    for name, mapping in mappings.items():
        values = [0] * 0x30000  # nothing above is changed
        for point, text in mapping.items():
            if text not in places:
                places[text] = len(texts)
                texts += [len(text), *map(ord, text)]
            values[point] = places[text]
        found |= blocks_of(name, values, 64)
    assert len(texts) < 1 << 16
    return {"mapped_texts": Table(texts), **found}


def tables() -> dict[str, Table]:
    decomposed = {p: t for p, t in mapped(normalizers.NFD()).items() if p not in HANGUL}
    compatible = {p: t for p, t in mapped(normalizers.NFKD()).items() if p not in HANGUL}
    lower = mapped(normalizers.Lowercase())
    bits = properties(decomposed)
    distinct = sorted(set(bits))
    places = {value: number for number, value in enumerate(distinct)}
    more = {p: t for p, t in compatible.items() if t != decomposed.get(p)}
    pairs = zip(*compositions(decomposed), strict=True)
    return {
        "property_sets": Table(distinct),
        **blocks_of("property", [places[value] for value in bits], 128),
        **mapping_tables({"canonical": decomposed, "compatible": more, "lowercase": lower}),
        **{
            f"composed_{name}": Table(values)
            for name, values in zip(("first", "second", "whole"), pairs, strict=True)
        },
    }


def main(write: Callable[[str], object] = sys.stdout.write) -> None:
    write("// Made by make_unicode_tables.py; don't edit.\n")
    for number, name in enumerate(BITS):
        write(f"inline constexpr uint32_t {name}_bit = 1u << {number};\n")
    write(f"inline constexpr unsigned kind_shift = {len(BITS)}, cluster_shift = kind_shift + 3,\n")
    write("                          conjunct_shift = kind_shift + 7, class_shift = 24;\n")
    for kind, names in ("cluster", CLUSTER), ("conjunct", CONJUNCT):
        write(f"enum {kind.capitalize()} : uint8_t {{ {kind}_{f', {kind}_'.join(names)} }};\n")
    write_tables(tables(), write)


def write_tables(made: dict[str, Table], write: Callable[[str], object]) -> None:
    """A struct of all tables, a function that visits each, and what their bytes are packed to."""
    write("struct Tables {\n    Tables();\n")
    for name, table in made.items():
        write(table.declared(name))
    write("};\n// Calls `visit` with each table, and with whether its differences are packed.\n")
    write("template <class Visit> void each_table(Tables &tables, Visit visit)\n{\n")
    for name, table in made.items():
        write(f"    visit(tables.{name}, {str(table.differences).lower()});\n")
    packed = deflated(b"".join(table.packed for table in made.values()))
    ahead = bytes(2)  # may be read before the end is seen
    write(f"}}\ninline constexpr uint8_t packed_tables[] = {{\n{array(packed + ahead)}\n}};\n")


if __name__ == "__main__":
    main()
