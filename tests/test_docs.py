"""The documentation is right: its links, commands and flags exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from onelayer.cli.flags import Flag, flags_of
from onelayer.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*/*.md"))
)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(onelayer [^`\n]+)`")
ALSO_FOREIGN_FLAGS = ("benchmarks.md", "docker.md")
"""Pages that also name flags of benchmarks and of docker."""
INLINE_FLAG = re.compile(r"`(--[a-z][^`\n]*)`")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{named(page)}: no {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), (
                f"{named(page)}: {path or named(page)} has no #{anchor}"
            )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_flags_exist(page: Path) -> None:
    for line in commands_in(page.read_text(encoding="utf-8")):
        _, command, *rest = shlex.split(line, comments=True)
        if command in ("COMMAND", "--help", "--version"):
            continue
        assert command in COMMANDS, f"{named(page)}: {line}"
        known = {str(flag): flag for flag in flags_of(COMMANDS[command])}
        for flag, value in flags_in(rest):
            assert flag in known or flag == "--help", f"{named(page)}: {line}: no {flag}"
            check_choice(known.get(flag), value, line)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_flags_named_alone_belong_to_a_command(page: Path) -> None:
    if page.name in ALSO_FOREIGN_FLAGS:
        return
    known: dict[str, list[Flag]] = {}
    for function in COMMANDS.values():
        for flag in flags_of(function):
            known.setdefault(str(flag), []).append(flag)
    for code in INLINE_FLAG.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        for flag, value in flags_in(code.split()):
            assert flag in {*known, "--help", "--version"}, f"{named(page)}: no command has {code}"
            if len(known.get(flag, [])) == 1:
                check_choice(known[flag][0], value, code)


def check_choice(flag: Flag | None, value: str, line: str) -> None:
    """Asserts that a lower-case value after a flag is one of the flag's choices."""
    if flag is not None and flag.choices and value.islower():
        assert value in flag.choices, line


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def commands_in(text: str) -> Iterator[str]:
    """Lines of code blocks, and inline code, that call onelayer."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\$? *onelayer [a-z]", line.strip()):
                yield until_pipe(line.strip().lstrip("$ "))
    for code in INLINE.findall(FENCE.sub("", text)):
        yield until_pipe(code)


def until_pipe(line: str) -> str:
    return re.split(r" [|>&;] ?| #", line, maxsplit=1)[0]


def flags_in(words: list[str]) -> Iterator[tuple[str, str]]:
    """Each flag, without ``no-``, and the word after it."""
    for word, after in pairwise([*words, ""]):
        if word.startswith("--"):
            flag, _, value = word.partition("=")
            yield flag.replace("--no-", "--"), value or after
