"""The lecture's pages: their commands run in order, and their code runs and is the files' own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from onelayer.checkpoint import source
from onelayer.cli.main import main
from support.tiny_bert import MakeBert

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs/lecture.md", ROOT / "docs/zh-CN/lecture.md"]
SHORT = ["--epochs", "0.2", "--folds", "0"]
"""What is added to each training, which would last a minute otherwise."""

BLOCK = re.compile(r"^```(\w+)(?: excerpt=(\S+))?\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, kind: str) -> Iterator[tuple[str | None, str]]:
    """The blocks of a kind: the file that they are an excerpt of, and their lines."""
    for found, excerpt, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if found == kind:
            yield excerpt or None, body


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=["en", "zh"])
def test_page_runs_in_order(
    page: Path, make_bert: MakeBert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tiny = make_bert(max_position_embeddings=128)
    monkeypatch.setattr(source, "on_this_machine", lambda *_: tiny)
    text = page.read_text(encoding="utf-8")
    n_commands = 0
    for kind, excerpt, body in BLOCK.findall(text):
        if kind == "python" and not excerpt:
            exec(compile(body, str(page), "exec"), {})
        for line in body.splitlines() if kind == "sh" else ():
            program, *words = line.split()
            assert program == "onelayer", line
            more = SHORT if words[0] == "train" else []
            more += ["--accept"] if words[0] == "export" else []
            assert main([*words, *more]) == 0, line
            n_commands += 1
    assert n_commands >= 15


@pytest.mark.parametrize("page", PAGES, ids=["en", "zh"])
def test_excerpts_are_in_the_files(page: Path) -> None:
    excerpts = [(file, body) for file, body in blocks(page, "python") if file]
    assert excerpts
    for file, body in excerpts:
        code = (ROOT / file).read_text(encoding="utf-8")
        for line in body.splitlines():
            assert line.strip() in code, line


def test_both_languages_have_the_same_code() -> None:
    english, chinese = (list(blocks(page, "python")) for page in PAGES)
    assert english == chinese
