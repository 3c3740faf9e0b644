"""Writes libonelayer as one source file with its headers, for projects that keep a copy of it.

    python csrc/amalgamate.py OUT
    c++ -std=c++17 -O3 -pthread -c OUT/onelayer.cpp

``OUT`` gets onelayer.cpp, onelayer.h and onelayer.hpp. GCC compiles them without other flags: what
flags.txt says stands in the source as pragmas. The kernels are at its end, once; for each
instruction set onelayer.cpp includes itself and compiles them for it, in a namespace of their own.
What a source declares for itself alone is seen by those behind it, so two sources can't use one
name at namespace scope.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CSRC = Path(__file__).parent
ROOMS = ("base", "tokens", "tasks", "bundle", "engine", "library")
KERNELS = CSRC / "engine" / "kernels.cpp"
HEADERS = ("onelayer.h", "onelayer.hpp")
SOURCE = "onelayer.cpp"
LICENSE = """\
Copyright the authors of onelayer. Licensed under the Apache License, version 2.0:
http://www.apache.org/licenses/LICENSE-2.0
SPDX-License-Identifier: Apache-2.0"""

INCLUDE = re.compile(r'#include "(?P<path>[^"]+)"\n')
SYSTEM = re.compile(r"^#include <(?P<name>[^>]+)>\n", re.MULTILINE)
DEFINED = re.compile(r"^#define (\w+)", re.MULTILINE)
FEATURE = re.compile(r"\b__(AVX\w*?|AMX\w*?|FMA|ARM_FEATURE_\w+?)(?:__)?\b")
"""A compiler's macro for instructions that flags can switch on."""
INSTANCE = re.compile(r"^const InstructionSet NAMED", re.MULTILINE)
ARM_FEATURES = {"dotprod": "ARM_FEATURE_DOTPROD", "i8mm": "ARM_FEATURE_MATMUL_INT8"}
"""What is added to ``-march``, and its macro."""
INTRINSICS = {"immintrin.h": "__SSE2__", "emmintrin.h": "__SSE2__", "arm_neon.h": "__ARM_NEON"}
INTRINSICS |= {"wasm_simd128.h": "__wasm_simd128__"}
"""Headers of one kind of processor, and the macro that tells it."""

ROUNDING = """\
// A product and a sum stay two operations, so that all machines round alike.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off", "no-math-errno", "no-trapping-math")
#endif
"""
WARNINGS = """\
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized" // GCC 12 warns of its own header
#endif
"""


@dataclass(frozen=True)
class InstructionSet:
    """A line of flags.txt for the kernels."""

    machine: str
    """``any``, or the processor by the compiler's macro without its underscores."""
    flags: tuple[str, ...]

    @property
    def name(self) -> str:
        return next(flag[6:] for flag in self.flags if flag.startswith("-DSET="))

    @property
    def targets(self) -> list[str]:
        """As the compilers' attribute ``target`` takes them."""
        wide = [flag[2:] for flag in self.flags if flag.startswith("-m")]
        return [f"arch={one[5:]}" if one.startswith("arch=") else one for one in wide]

    @property
    def features(self) -> list[str]:
        """The macros of the instructions, without underscores: compilers differ in them."""
        found = []
        for target in self.targets:
            if target.startswith("arch="):
                found += [ARM_FEATURES[one] for one in target.split("+")[1:]]
            else:
                found.append(target.upper())
        return [re.sub("[-_]", "", one) for one in found]


def instruction_sets(lines: Iterable[str]) -> list[InstructionSet]:
    """The lines of flags.txt for the kernels."""
    rows = [line.partition("#")[0].split() for line in lines]
    name = KERNELS.relative_to(CSRC).as_posix()
    return [InstructionSet(row[1], tuple(row[2:])) for row in rows if row[:1] == [name]]


@dataclass
class Files:
    """Sources as one text: each header where it is first included, and not again."""

    written: set[Path] = field(default_factory=set)

    def text(self, path: Path) -> str:
        """A file with its headers. A header that was written before is left out."""
        path = path.resolve()
        if path in self.written:
            return ""
        self.written.add(path)
        if path.parent.name == "include":
            return f'#include "{path.name}"\n'
        return "".join(self._lines(path))

    def _lines(self, path: Path) -> Iterator[str]:
        branches: list[list[set[Path]]] = []  # of each #if: what was written before, and in each
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if include := INCLUDE.match(line):
                yield self.text(path.parent / include["path"])
                continue
            if line.startswith("#if"):
                branches.append([set(self.written)])
            elif line.startswith(("#el", "#endif")):
                branches[-1].append(self.written)
                self.written = set(branches[-1][0])
                if line.startswith("#else"):
                    branches[-1][0] = set.union(*branches[-1])  # one of the branches is compiled
                elif line.startswith("#endif"):
                    self.written = set.intersection(*branches.pop())
            if line != "#pragma once\n":
                yield line


def amalgamated(version: str) -> str:
    """The text of onelayer.cpp."""
    sets = instruction_sets((CSRC / "flags.txt").read_text(encoding="utf-8").splitlines())
    files = Files()
    sources = [path for room in ROOMS for path in sorted((CSRC / room).glob("*.cpp"))]
    library = "".join(
        f"\n// {path.relative_to(CSRC).as_posix()}\n{files.text(path)}"
        for path in sources
        if path != KERNELS
    )
    kernels = files.text(KERNELS)
    system = list(dict.fromkeys(SYSTEM.findall(kernels)))
    known = {feature for each in sets for feature in each.features}
    kernels = FEATURE.sub(lambda found: own_macro(found[1], known), SYSTEM.sub("", kernels))
    kernels, n = INSTANCE.subn("constexpr InstructionSet NAMED", kernels)
    if n != 1:
        raise SystemExit(f"{KERNELS} defines {n} instruction sets and should define one")
    return "".join(
        [
            comment(f"libonelayer {version}: all of its sources in one file. See onelayer.h."),
            f'#ifndef ONELAYER_KERNELS\n{ROUNDING}#include "onelayer.h"\n',
            library,
            f"\n// The kernels for each instruction set.\n{WARNINGS}",
            *(include_of(name) for name in system),
            *(compiled(each, sorted(known), DEFINED.findall(kernels)) for each in sets),
            "#else\n\n// The kernels for one instruction set.\n",
            f"namespace onelayer {{\nnamespace ONELAYER_KERNELS {{\n\n{kernels}\n}}\n}}\n#endif\n",
        ]
    )


def own_macro(feature: str, known: set[str]) -> str:
    """The name that stands for a compiler's macro: Clang's don't follow the attribute."""
    feature = feature.replace("_", "")
    if feature not in known:
        raise SystemExit(f"the kernels ask for {feature}, which no line of flags.txt switches on")
    return f"SET_HAS_{feature}"


def include_of(name: str) -> str:
    line = f"#include <{name}>\n"
    return f"#if defined({INTRINSICS[name]})\n{line}#endif\n" if name in INTRINSICS else line


def compiled(each: InstructionSet, known: Sequence[str], macros: Iterable[str]) -> str:
    """The lines that compile the kernels for an instruction set."""
    space, targets = f"kernels_for_{each.name}", ",".join(each.targets)
    begin = [
        "#if defined(__clang__)",
        f'#pragma clang attribute push(__attribute__((target("{targets}"))), apply_to = function)',
        "#else",
        "#pragma GCC push_options",
        f'#pragma GCC target("{targets}")',
        "#endif",
    ]
    end = ["#if defined(__clang__)", "#pragma clang attribute pop"]
    end += ["#else", "#pragma GCC pop_options", "#endif"]
    lines = [
        *(begin if targets else ()),
        f"#define ONELAYER_KERNELS {space}",
        *(flag.replace("-D", "#define ").replace("=", " ") for flag in each.flags if "-D" in flag),
        *(f"#define SET_HAS_{feature}" for feature in each.features),
        f'#include "{SOURCE}"',
        "#undef ONELAYER_KERNELS",
        *(f"#undef SET_HAS_{feature}" for feature in known),
        *(f"#undef {name}" for name in dict.fromkeys(["SET", *macros])),
        *(end if targets else ()),
        "namespace onelayer {",
        f"extern const InstructionSet kernels_{each.name};",
        f"constexpr InstructionSet kernels_{each.name} = {space}::onelayer::kernels_{each.name};",
        "}",
    ]
    if each.machine != "any":
        lines = [f"#if defined(__{each.machine}__)", *lines, "#endif"]
    return "\n".join(["", *lines, ""])


def comment(first: str) -> str:
    made = "Made by csrc/amalgamate.py; don't edit."
    return "".join(f"// {line}\n" for line in [first, *LICENSE.splitlines(), made]) + "\n"


def version_of(header: str) -> str:
    found = re.search(r'^#define ONELAYER_VERSION "(.+)"$', header, re.MULTILINE)
    if found is None:
        raise SystemExit("onelayer.h has no ONELAYER_VERSION")
    return found[1]


def write(out: Path) -> list[Path]:
    """Writes the files into a directory, which is made; returns them."""
    headers = {name: (CSRC / "include" / name).read_text(encoding="utf-8") for name in HEADERS}
    version = version_of(headers["onelayer.h"])
    texts = {SOURCE: amalgamated(version)}
    for name, text in headers.items():
        lines = [f"libonelayer {version}", *LICENSE.splitlines()]
        texts[name] = "".join(f"/* {line} */\n" for line in lines) + text
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")
    return [out / name for name in texts]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="the directory of the three files")
    for path in write(parser.parse_args().out):
        print(path)
