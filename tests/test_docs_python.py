"""The Python code of the documentation runs, with a tiny model in place of the starter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.tiny_bert import MakeBert

pytest.importorskip("pandas")
DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "n_blocks"), [("python.md", 3), ("zh-CN/python.md", 3), ("labelling.md", 1)]
)
def test_code_of_the_page_runs(
    page: str,
    n_blocks: int,
    make_bert: MakeBert,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = make_bert()
    for module in ("training.plan", "inspection.inspect", "checkpoint.default_model"):
        monkeypatch.setattr(f"onelayer.{module}.resolve", lambda *_: tiny)
    for bound in ("MIN_EPOCHS", "MAX_EPOCHS"):
        monkeypatch.setattr(f"onelayer.training.schedule.{bound}", 1)
    blocks = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(blocks) == n_blocks

    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)

    printed = capsys.readouterr().out
    if page == "labelling.md":
        assert len(printed.splitlines()) == 5
    else:
        assert "prediction_json" in printed
        assert len(names["scores"]["test_score"]) == 2


def test_both_languages_have_the_same_code() -> None:
    counts = [
        len(BLOCK.findall((DOCS / page).read_text(encoding="utf-8")))
        for page in ("python.md", "zh-CN/python.md")
    ]

    assert counts == [3, 3]
