"""The Unicode tables in C++ are what their script makes of the tokenizers library."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
import zlib
from itertools import accumulate
from types import ModuleType

import pytest
from tokenizers import normalizers

from onelayer.base.compiled_code import c_sources

FOLDER = c_sources("tokens")
POINTS = (
    *(*range(0x3400), *range(0x4DB0, 0x4E10), *range(0x9FF0, 0xAC10), *range(0xD7A0, 0xD800)),
    *(*range(0xF900, 0x11FFF), *range(0x1F000, 0x1FFFF), *range(0xE0000, 0xE0200)),
)
"""Where the code points lie that have properties. The script itself looks at all."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", FOLDER / "make_unicode_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "POINTS", list(POINTS))
    return module


def unpacked(text: str) -> dict[str, list[int]]:
    """The numbers of each table, from the bytes that all are packed to."""
    numbers = re.search(r"packed_tables\[\] = \{\n(.*?)\n\};", text, re.DOTALL)
    assert numbers is not None
    packed = bytes(int(n) for n in numbers[1].replace("\n", "").rstrip(",").split(","))
    data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed)
    differences = dict(re.findall(r"visit\(tables\.(\w+), (\w+)\)", text))
    tables = {}
    for bits, name, count in re.findall(r"uint(\d+)_t (\w+)\[(\d+)\];", text):
        n, size = int(count), int(bits) // 8
        planes, data = data[: n * size], data[n * size :]
        values = [int.from_bytes(planes[i::n], "little") for i in range(n)]
        if differences[name] == "true":
            values = [total % (1 << int(bits)) for total in accumulate(values)]
        tables[name] = values
    assert not data
    return tables


@pytest.mark.slow
def test_unicode_tables_are_those_of_the_script(script: ModuleType) -> None:
    tables = unpacked((FOLDER / "unicode_tables.inc").read_text(encoding="utf-8"))

    def value(name: str, point: int, bits: int) -> int:
        block = tables[f"{name}_index"][point >> bits]
        return tables[f"{name}_values"][(block << bits) + (point & ((1 << bits) - 1))]

    def mapping(name: str) -> dict[int, str]:
        texts = tables["mapped_texts"]
        places = {point: value(name, point, 6) for point in POINTS if point < 0x30000}
        return {
            point: "".join(map(chr, texts[place + 1 : place + 1 + texts[place]]))
            for point, place in places.items()
            if place
        }

    decomposed = script.mapped(normalizers.NFD())
    decomposed = {p: text for p, text in decomposed.items() if p not in script.HANGUL}
    assert mapping("canonical") == decomposed
    assert mapping("lowercase") == script.mapped(normalizers.Lowercase())
    # Newer Pythons know more characters than 3.11, whose words the tables follow.
    words = 1 << script.BITS.index("alphanumeric") | 7 << len(script.BITS)
    mask = ~0 if unicodedata.unidata_version == "14.0.0" else ~words
    bits = script.properties(decomposed)
    wrong = [
        f"U+{point:04X}"
        for point in POINTS
        if (tables["property_sets"][value("property", point, 7)] ^ bits[point]) & mask
    ]
    assert not wrong, wrong[:20]
