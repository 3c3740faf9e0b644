"""What a notebook shows: a bar that is updated in place, tables, and the report in a frame."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import onelayer
from onelayer.base.result import HtmlPage, text_table
from onelayer.tasks.classify.class_predictions import Label
from onelayer.training.history import RunProgress
from onelayer.training.notebook import NotebookBar, default_reporter, in_notebook
from onelayer.training.progress import Silent
from support.tiny_bert import MakeBert

ROWS = [{"text": f"{'good' if i % 2 else 'bad'} {i}", "label": "ab"[i % 2]} for i in range(24)]


class Output:
    """A cell's output: what was displayed, and each update of it."""

    def __init__(self) -> None:
        self.displayed = 0
        self.shown: list[dict[str, str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Output:
        assert raw
        assert display_id
        self.displayed += 1
        self.shown.append(data)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.shown.append(data)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Output:
    """Stands for IPython in the kernel of a notebook."""
    output = Output()
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display.display = output.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return output


def progress(step: int) -> RunProgress:
    return SimpleNamespace(step=step, loss=0.5, tokens_per_second=1000.0, lr=1e-4)  # type: ignore[return-value]


def test_bar_is_one_output_that_is_updated(notebook: Output) -> None:
    bar = NotebookBar()

    bar.say("text = review")
    bar.start(1000, "")
    for step in range(1, 1001):
        bar.step(progress(step))
    bar.evaluated(1.0, {"accuracy": 0.75}, "accuracy", True)
    bar.finish()

    assert notebook.displayed == 1
    assert len(notebook.shown) < 120
    assert any('value="500" max="1000"' in one["text/html"] for one in notebook.shown)
    last = notebook.shown[-1]
    assert "<progress" not in last["text/html"]
    assert "epoch 1: dev accuracy 0.75" in last["text/html"]
    assert "· text = review" in last["text/plain"]
    assert not any("\x1b" in one["text/html"] + one["text/plain"] for one in notebook.shown)


def test_remarks_are_escaped(notebook: Output) -> None:
    bar = NotebookBar()

    bar.say("label = <script>alert(1)</script>")
    bar.prepare('reading "<b>"', 5, 10)

    assert "<script>" not in notebook.shown[-1]["text/html"]
    assert "<b>" not in notebook.shown[-1]["text/html"]
    assert "&lt;script&gt;" in notebook.shown[-1]["text/html"]


def test_training_shows_a_bar_in_a_notebook_alone(
    notebook: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_notebook()
    assert isinstance(default_reporter(), NotebookBar)
    for shell in (None, SimpleNamespace(kernel=None), SimpleNamespace()):  # none, IPython's console
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda shell=shell: shell)
        assert isinstance(default_reporter(), Silent)
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_run_and_report_are_shown_inline(
    notebook: Output, make_bert: MakeBert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run = onelayer.finetune(ROWS, out="run", model=str(make_bert()), epochs=1, folds=0)

    assert notebook.displayed == 1
    assert "training: 1 of 1 steps" in str(notebook.shown)
    assert "<table>" in run._repr_html_()
    (tmp_path / "run" / "report.html").write_text("<!doctype html>")
    page = run.report()
    assert page.out == "run/report.html"
    assert '<iframe srcdoc="&lt;!doctype html&gt;' in page._repr_html_()
    assert " sandbox " in page._repr_html_()
    (tmp_path / "run" / "report.html").unlink()
    assert page._repr_html_() == "<p>saved run/report.html</p>"
    with pytest.raises(onelayer.UsageError, match=r"no report \(write one"):
        run.report()


def test_page_can_not_leave_its_frame(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text('"></iframe><script>alert(1)</script>')

    shown = HtmlPage(out=str(page))._repr_html_()

    assert "<script>" not in shown
    assert shown.count("</iframe>") == 1


def test_predictions_are_shown_as_escaped_tables() -> None:
    shown: Any = Label("<b>bold</b>", 0.5, {"<b>bold</b>": 0.5, "x": 0.5})._repr_html_()

    assert "<b>" not in shown
    assert "<td>probability</td><td>0.5</td>" in shown


def test_printed_table_does_not_show_itself_in_a_notebook(
    notebook: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)

    assert text_table([["a", "b"], ["c", "d"]]).split() == ["a", "b", "c", "d"]

    assert notebook.displayed == 0
