"""The repository's own rules of language and structure, which no other tool checks."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

FOLDERS = ("src", "csrc", "js", "tests", "benchmarks", "docs", "examples", ".github")
SUFFIXES = {
    *(".py", ".c", ".cpp", ".h", ".hpp", ".js", ".css", ".html", ".j2", ".jinja"),
    *(".ts", ".go", ".rs", ".java", ".md", ".toml", ".yml", ".yaml", ".sh", ".cff"),
}
CODE = {".py", ".c", ".cpp", ".h", ".hpp", ".js", ".css", ".html", ".j2", ".jinja"}
MAX_LINES = 400

BANNED_TURNS = (
    *("of which", "anew", "begun", "so many", "gone through", "beside it", "goes on", "as may be"),
    *("nothing but", r"none (?:\w+ ){0,3}but", "mend(?:s|ed|ing)?"),
)
"""Turns of phrase that are hard to read quickly. Also found in names: ``so_many``."""
BREAK = r"[\s_#/*>]+"
"""Characters between two words, including a line's end and the next line's comment sign."""
BANNED = re.compile(
    rf"(?<![A-Za-z])(?:{'|'.join(BANNED_TURNS).replace(' ', BREAK)})(?![A-Za-z])", re.IGNORECASE
)
OWN_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt|media)/\w")
"""An absolute path of one machine."""


def test_text_has_no_banned_turn() -> None:
    over = banned_turns()
    lines = [f"{name}:{line}: {turn!r}" for name in over for line, turn in turns_in(ROOT / name)]
    assert not over, "say it plainly:\n" + "\n".join(lines)


def banned_turns() -> Counter[str]:
    """Banned turns by file."""
    counts = {name_of(path): sum(1 for _ in turns_in(path)) for path in texts()}
    return +Counter(counts)


def turns_in(path: Path) -> Iterator[tuple[int, str]]:
    """The banned turns of a file with their lines."""
    text = path.read_text(encoding="utf-8")
    for found in BANNED.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[0]


@pytest.mark.parametrize("text", ["none of them, but", "recommend", "amended", "goes only"])
def test_plain_words_are_no_banned_turn(text: str) -> None:
    assert not BANNED.search(text)


@pytest.mark.parametrize(
    "text", ["Mended", "so_many_rows", "is one of\n    # which", "none of these but", "begun."]
)
def test_banned_turn_is_found_in_names_and_over_lines(text: str) -> None:
    assert BANNED.search(text)


def test_text_has_no_path_of_one_machine() -> None:
    found = [
        f"{name_of(path)}: {line.strip()}"
        for path in texts()
        for line in path.read_text(encoding="utf-8").splitlines()
        if OWN_PATH.search(line)
    ]
    assert not found


def test_source_file_names_are_unique() -> None:
    assert not doubled_files()


def doubled_files() -> Counter[str]:
    """The number of files by their name, for names of several files."""
    names = Counter(path.name for path in source_files() if path.name != "__init__.py")
    return Counter({name: count for name, count in names.items() if count > 1})


def test_public_name_is_defined_once() -> None:
    more = doubled_names()
    assert not more, {name: homes()[name] for name in more}


def doubled_names() -> Counter[str]:
    """The number of definitions by public name, for names with several."""
    return Counter({name: len(files) for name, files in homes().items() if len(files) > 1})


def homes() -> dict[str, list[str]]:
    """The files that define each public function or class at module level."""
    found = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE / "onelayer").as_posix()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if not node.name.startswith("_") and not is_exempt(name, node.name):
                found[node.name].append(name)
    return found


def is_exempt(file: str, name: str) -> bool:
    """Whether there is a reason for a second definition."""
    return (
        # A command wraps the public function of the same name for the terminal.
        file in ("cli/commands.py", "cli/file_commands.py")
        # PyTorch's version of each compiled operation has its name, so that they can be swapped.
        or file == "nn/reference.py"
        # Each HTTP dialect has a module with its routes.
        or (file.startswith("serving/api/") and name == "operations")
    )


def test_source_files_are_under_400_lines() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in [*source_files(), *(ROOT / "csrc").rglob("*")]
        if path.suffix in CODE
    }
    assert not {name: length for name, length in lengths.items() if length >= MAX_LINES}


def test_test_modules_do_not_import_each_other() -> None:
    """Shared helpers are in ``support``, so that each module can be read and run alone."""
    imported = re.compile(r"^\s*(?:from|import) (?:tests\.)?(?:test_\w+|conftest)\b", re.MULTILINE)
    for path in (ROOT / "tests").rglob("*.py"):
        assert not imported.search(path.read_text(encoding="utf-8")), path


def source_files() -> list[Path]:
    return [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def texts() -> list[Path]:
    """All text files of the repository except this one, which names the banned turns."""
    found = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES or path.name == "Makefile"]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return [path for path in found if path.is_file() and path != Path(__file__)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
