"""The report in a real browser: narrow and wide, light and dark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onelayer.evaluation.report.document import page
from onelayer.evaluation.report.facts import WrongRow
from onelayer.evaluation.report.gather import facts_of
from onelayer.shrinking.ladder_page import ladder_page
from onelayer.tasks.mistakes import Mark, Mistake, Passage
from support import chromium
from support.from_tokens import MakePredictor
from support.made_ladder import ladder
from support.report_facts import HOSTILE, many_classes
from support.task_cases import CASES, Case

pytestmark = pytest.mark.pictures

LONG_LABELS = ["x" * 200, "与" * 100, HOSTILE[0], HOSTILE[1]]
HARD = Case(
    "classify",
    [{"text": HOSTILE[i % len(HOSTILE)] + f" {i}", "label": LONG_LABELS[i % 4]} for i in range(24)],
    [],
    object,
    "",
)
NAMES = (
    *("classify pairs", "classify multi-label", "regress", "tag IOB2", "tag plain"),
    *("answer or none", "choose"),
)
SHOWN = {case.name: case for case in CASES if case.name in NAMES} | {"classify": HARD}

TOO_WIDE = """[...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.scroll, svg'))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.tagName + '.' + e.className)"""
UNSEEN = """[...document.querySelectorAll('svg')].filter(svg => {
    const box = svg.getBoundingClientRect();
    return box.width < 200 || box.height < 100 || !svg.querySelector('path');
}).length"""
CUT = """[...document.querySelectorAll('svg text')].filter(text => {
    const inner = text.getBoundingClientRect();
    const outer = text.closest('svg').getBoundingClientRect();
    return !inner.width || inner.left < outer.left - 1 || inner.right > outer.right + 1
        || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
}).map(text => text.textContent)"""
OVERLAPS = """[...document.querySelectorAll('svg')].flatMap(svg => {
    const boxes = [...svg.querySelectorAll('text')].map(t => [t, t.getBoundingClientRect()]);
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([_, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
    ).map(([other, _]) => one.textContent + ' / ' + other.textContent));
})"""
REPEATED = """[...document.querySelectorAll('svg')].flatMap(svg => {
    const rows = [...svg.querySelectorAll('text')].map(text =>
        text.textContent + ' at ' + Math.round(text.getBoundingClientRect().top));
    return rows.filter((row, i) => rows.indexOf(row) !== i);
})"""
COLOURS = """[getComputedStyle(document.body).backgroundColor,
    getComputedStyle(document.querySelector('svg text')).fill,
    getComputedStyle(document.querySelector('svg path[style*="--blue"]')).stroke]"""
LOST_LINKS = """[...document.querySelectorAll('a')].filter(
    a => !document.getElementById(a.getAttribute('href').slice(1))).length"""


@pytest.fixture(scope="module", params=sorted(SHOWN))
def opened(
    request: pytest.FixtureRequest,
    tab: chromium.Page,
    make_predictor: MakePredictor,
    tmp_path_factory: pytest.TempPathFactory,
) -> chromium.Page:
    facts = facts_of(*make_predictor(SHOWN[request.param]), "rows.jsonl", [0.5, 0.5, 0.2, 0.3])
    if request.param == "classify pairs":
        facts = many_classes(facts, 30)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(facts), encoding="utf-8")
    tab.events.clear()
    tab.look(360, "light")
    tab.open(path)
    return tab


def test_report_makes_no_requests_and_logs_no_errors(opened: chromium.Page) -> None:
    assert [Path(url).name for url in opened.requests()] == ["report.html"]
    assert opened.errors() == []
    assert opened.value(LOST_LINKS) == 0


@pytest.mark.parametrize("width", [360, 1400])
def test_report_fits_the_screen(opened: chromium.Page, width: int) -> None:
    opened.look(width, "light")
    assert opened.value("document.documentElement.scrollWidth") <= width
    assert opened.value(TOO_WIDE) == []
    assert opened.value("document.querySelectorAll('svg').length") >= 5
    assert opened.value(UNSEEN) == 0
    assert opened.value(CUT) == []
    assert opened.value(OVERLAPS) == []
    assert opened.value(REPEATED) == []


@pytest.mark.parametrize("width", [360, 1400])
def test_page_of_a_ladder_fits_the_screen(tab: chromium.Page, tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(ladder_page(ladder(test=True)), encoding="utf-8")
    tab.events.clear()
    tab.look(width, "light")
    tab.open(path)
    assert [Path(url).name for url in tab.requests()] == ["report.html"]
    assert tab.errors() == []
    assert tab.value("document.documentElement.scrollWidth") <= width
    for check in (TOO_WIDE, CUT, OVERLAPS, REPEATED):
        assert tab.value(check) == []
    assert tab.value(UNSEEN) == tab.value(LOST_LINKS) == 0


@pytest.mark.parametrize("unit", [1e-4, 1, 100, 1e9])
def test_scatter_names_its_axes(
    tab: chromium.Page, make_predictor: MakePredictor, tmp_path: Path, unit: float
) -> None:
    facts = facts_of(*make_predictor(SHOWN["regress"]), "rows")
    gold = unit * np.array([-3000.5, 10, 6000.25])
    of = replace(facts.evaluation, numbers=(gold, -gold))
    path = tmp_path / "report.html"
    path.write_text(page(replace(facts, evaluation=of)), encoding="utf-8")
    tab.events.clear()
    tab.look(400, "light")
    tab.open(path)
    assert tab.value(CUT) == []
    assert tab.value(OVERLAPS) == []


def test_dark_mode_follows_the_system_and_the_switch(opened: chromium.Page) -> None:
    opened.look(1400, "light")
    light = opened.value(COLOURS)
    opened.look(1400, "dark")
    dark = opened.value(COLOURS)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    opened.value("document.getElementById('light').click()")
    assert opened.value(COLOURS) == light
    opened.look(1400, "light")
    opened.value("document.getElementById('dark').click()")
    assert opened.value(COLOURS) == dark
    opened.value("document.getElementById('auto').click()")
    assert opened.value(COLOURS) == light


BOX = "document.querySelector('.scroll:has(.matrix)')"
EDGE = f"""(() => {{
    const box = {BOX}.getBoundingClientRect();
    return [Math.round(box.right) - 6 + scrollX, Math.round(box.bottom) - 6 + scrollY];
}})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_wide_matrix_shows_that_it_is_cut_and_scrolls_with_the_keyboard(
    tab: chromium.Page, make_predictor: MakePredictor, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(many_classes(facts_of(*make_predictor(CASES[0]), "rows"), 12)), "utf-8")
    tab.events.clear()
    tab.look(400, scheme)
    tab.open(path)
    blank = tab.pixels(2, 2)
    assert tab.pixels(*tab.value(EDGE)) != blank
    tab.value(f"{BOX}.focus()")
    tab.press("ArrowRight")
    tab.until(f"{BOX}.scrollLeft > 0")
    row = tab.value("document.querySelector('.matrix th[scope=row]').getBoundingClientRect().left")
    assert row == tab.value(f"{BOX}.getBoundingClientRect().left")
    tab.value(f"{BOX}.scrollTo({{left: 1e6, behavior: 'instant'}})")
    assert tab.pixels(*tab.value(EDGE)) == blank


COPIED = """(() => {
    const text = document.querySelector('.passage p');
    getSelection().selectAllChildren(text);
    const box = text.getBoundingClientRect();
    return [getSelection().toString(), [...text.querySelectorAll('rt')].filter(label => {
        const inner = label.getBoundingClientRect();
        return inner.left < box.left - 1 || inner.right > box.right + 1
            || inner.top < box.top || inner.bottom > box.bottom;
    }).length];
})()"""


@pytest.mark.parametrize("width", [400, 1300])
def test_overlapping_entities_copy_as_their_text(
    tab: chromium.Page, make_predictor: MakePredictor, tmp_path: Path, width: int
) -> None:
    facts = facts_of(*make_predictor(SHOWN["tag IOB2"]), "rows")
    text = "我们在北京大学看书 🙂 and Angela Merkel-Jones went to " + "x" * 120
    spans = [(3, 7, "gold"), (3, 5, "predicted"), (5, 10, "predicted"), (16, 29, "gold")]
    spans += [(23, 34, "predicted"), (46, len(text), "gold"), (50, 60, "predicted")]
    marks = tuple(Mark(start, end, kind, "Organisation") for start, end, kind in spans)
    wrong = WrongRow("line 1", 1, Mistake("", "", "", (Passage("text", text, marks),)))
    path = tmp_path / "report.html"
    evaluation = replace(facts.evaluation, mistakes=(wrong,))
    path.write_text(page(replace(facts, evaluation=evaluation)), encoding="utf-8")
    tab.events.clear()
    tab.look(width, "light")
    tab.open(path)
    assert tab.value(COPIED) == [text, 0]
    assert tab.value("document.documentElement.scrollWidth") <= width


NEAREST = """(() => {
    const spans = [...document.querySelectorAll('.passage p span.predicted')];
    const [first, second] = spans[0].getClientRects();
    return [second.top - first.bottom, spans.length];
})()"""


def test_line_over_a_prediction_keeps_clear_of_the_text_above(
    tab: chromium.Page, make_predictor: MakePredictor, tmp_path: Path
) -> None:
    facts = facts_of(*make_predictor(SHOWN["answer or none"]), "rows")
    text = "北京的大学很好" * 12
    passage = Passage("passage", text, (Mark(0, len(text), "predicted"),))
    wrong = WrongRow("line 1", 1, Mistake("", "", "", (passage,)))
    path = tmp_path / "report.html"
    evaluation = replace(facts.evaluation, mistakes=(wrong,))
    path.write_text(page(replace(facts, evaluation=evaluation)), encoding="utf-8")
    tab.events.clear()
    tab.look(400, "light")
    tab.open(path)
    gap, n = tab.value(NEAREST)
    assert n == 1
    assert gap >= 6


def test_browser_reports_requests_and_errors(tab: chromium.Page, tmp_path: Path) -> None:
    """Shows that the tests above can fail."""
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<!doctype html><img src='a.png'><script>oops()</script>", encoding="utf-8")
    tab.events.clear()
    tab.open(wrong)
    assert any("a.png" in url for url in tab.requests())
    assert any("oops" in error for error in tab.errors())
