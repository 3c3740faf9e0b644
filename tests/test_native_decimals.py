"""Numbers are read and written in C++ as Python does."""

from __future__ import annotations

import ctypes
import math
import random
import struct
import subprocess

import pytest

from onelayer.base.compiled_code import c_sources, compiler

CSRC = c_sources("base").parent
SOURCE = """
#include "base/decimals.h"
using namespace onelayer;
extern "C" int read(const char *text, size_t size, double *out)
{
    const auto found = read_decimal(text, text + size, *out);
    if (found.ec == std::errc::result_out_of_range)
        return -1;
    return static_cast<int>(found.ptr - text);
}
extern "C" size_t write(double number, int digits, int general_form, char *out)
{
    const std::string text = general_form ? general(number, digits)
                             : digits     ? repr(number, digits)
                                          : repr(number);
    return text.copy(out, 400);
}
"""
GIVEN = (
    *("0", "-0.0", "1.", ".5", "00012", "1e22", "1e23", "9007199254740993", "0.1", "-2.5e-3"),
    *("4.9e-324", "2.4703282292062328e-324", "2.2250738585072011e-308", "1.7976931348623157e308"),
    *("0." + 30 * "0" + "1", 40 * "123", "1e-30", "123456789012345678", "0.1234567890123456785"),
)


@pytest.fixture(scope="module")
def decimals(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    program = compiler("C++")
    if program is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("decimals")
    (folder / "called.cpp").write_text(SOURCE)
    sources = [folder / "called.cpp", CSRC / "base/decimals.cpp", CSRC / "base/exact_decimal.cpp"]
    flags = ("-std=c++17", "-shared", "-fPIC", f"-I{CSRC}")
    subprocess.run([program, *flags, *sources, "-o", folder / "decimals.so"], check=True)
    return ctypes.CDLL(str(folder / "decimals.so"))


def numbers(count: int) -> list[float]:
    drawn = random.Random(0)
    bits: list[float] = [struct.unpack("<d", drawn.randbytes(8))[0] for _ in range(count)]
    near = [drawn.gauss(0, 1) * 10 ** drawn.randrange(-7, 18) for _ in range(count)]
    whole = [0.0, -0.0, 1.0, 1e15, 1e16, 1e22, 9.5, 999999.5, 1e-5, 5e-324, 1.7976931348623157e308]
    return [number for number in (*bits, *near, *whole) if math.isfinite(number)]


def test_numbers_are_read_as_python_reads_them(decimals: ctypes.CDLL) -> None:
    texts = [*GIVEN, *(f"{x:.{p}g}" for x in numbers(100) for p in (1, 6, 15, 17, 18, 19, 25))]
    for text in texts:
        if math.isinf(float(text)):
            continue  # the largest numbers, rounded up
        out = ctypes.c_double()
        size = decimals.read(text.encode(), len(text), ctypes.byref(out))
        assert size == len(text), text
        assert struct.pack("<d", out.value) == struct.pack("<d", float(text)), text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        *(("", 0), (".", 0), ("-", 0), ("+1", 0), ("e5", 0), ("1e", 1), ("1e+x", 1), ("1.2.3", 3)),
        *(("1e400", -1), ("-1e999999999999999999999", -1), ("1e-400", -1)),
    ],
)
def test_numbers_end_where_a_number_does(decimals: ctypes.CDLL, text: str, read: int) -> None:
    assert decimals.read(text.encode(), len(text), ctypes.byref(ctypes.c_double())) == read


@pytest.mark.parametrize("digits", [1, 2, 6, 7, 8, 15])
def test_numbers_are_written_as_python_writes_them(decimals: ctypes.CDLL, digits: int) -> None:
    out = ctypes.create_string_buffer(400)

    def written(number: float, digits: int, general: bool) -> str:
        size = decimals.write(ctypes.c_double(number), digits, general, out)
        return out.raw[:size].decode()

    middles = [n / 2**k for n in range(1, 4000, 7) for k in (1, 3, 7)]
    for number in [*numbers(300), *middles]:
        rounded = f"{number:.{digits}g}"
        assert written(number, 0, False) == repr(number)
        assert written(number, digits, True) == rounded
        if math.isfinite(float(rounded)):
            assert written(number, digits, False) == repr(float(rounded))
