"""The report: its contents, and that no file can put markup into the page."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import UndefinedError

import onelayer
from onelayer.base.errors import Place
from onelayer.cli import main as cli
from onelayer.evaluation.report import tables
from onelayer.evaluation.report.document import page
from onelayer.evaluation.report.excerpts import MAX_CHARACTERS, MAX_WHOLE, MIN_OMITTED, excerpt
from onelayer.evaluation.report.facts import Learning
from onelayer.evaluation.report.gather import MAX_MISTAKES, facts_of
from onelayer.evaluation.report.markup import templates
from onelayer.evaluation.report.pictures import MAX_CURVE_POINTS, dev_score, residuals, thin
from onelayer.evaluation.report.write_report import report_file
from onelayer.recipe import Columns
from onelayer.tasks.mistakes import Mark
from onelayer.training import trainer
from support.from_tokens import MakePredictor
from support.report_facts import HOSTILE, many_classes
from support.task_cases import CASES, Case, texts

pytestmark = [pytest.mark.slow, pytest.mark.pictures]


class Parsed(HTMLParser):
    """The elements of a page, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)

    def handle_data(self, data: str) -> None:
        self.text += data


SECTIONS = {
    "classify": {"Each label", "Confusions", "Reliability"},
    "classify multi-label": {"Each label", "Reliability"},
    "regress": {"Numbers"},
    "tag IOB2": {"Each type", "Reliability"},
    "tag plain": {"Each label", "Confusions"},
    "answer": {"Reliability"},
    "choose": {"Reliability"},
}
EVERYWHERE = {"Scores", "Learning", "Lengths", "Worst mistakes", "Recipe and data"}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_report_shows_the_scores_and_the_worst_mistakes(
    case: Case, make_predictor: MakePredictor
) -> None:
    predictor, rows = make_predictor(case)
    facts = facts_of(predictor, rows, "rows.jsonl", [0.5, 0.5, 0.25, 0.25])
    of = facts.evaluation
    np.testing.assert_equal(of.scores, predictor.evaluate(rows)())
    judged = [
        predictor.task.judge(row, prediction).badness
        for row, prediction in zip(rows, predictor.predict_rows(rows), strict=True)
    ]
    assert of.wrong == np.count_nonzero(judged) > 0
    worst = np.sort(judged)[::-1][: len(of.mistakes)]
    np.testing.assert_allclose(
        sorted((judged[m.row - 1] for m in of.mistakes), reverse=True), worst
    )
    assert len(of.mistakes) == min(MAX_MISTAKES, of.wrong)
    assert int(of.lengths.counts.sum()) >= len(rows)
    html = page(facts)
    shown = set(re.findall(r"<h2><a[^>]*>([^<]*)</a>", html))
    assert shown >= EVERYWHERE | SECTIONS.get(case.name, set())
    assert html.count("<svg") >= 5
    assert "a remark &lt;b&gt;" in html
    text = plain(html)
    for wrong in of.mistakes:
        for passage in wrong.mistake.passages:
            for mark in passage.marks:
                assert passage.text[mark.start : mark.end] in text


@pytest.mark.parametrize("name", ["classify", "tag IOB2"])
def test_same_facts_give_the_same_bytes(name: str, make_predictor: MakePredictor) -> None:
    case = next(case for case in CASES if case.name == name)
    predictor, rows = make_predictor(case)
    first, second = (page(facts_of(predictor, rows, "rows", [0.5] * 4)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("long", "cut"), [("truncate", (70, 1)), (None, (0, 0))])
def test_lengths_are_counted_before_the_limit(
    make_predictor: MakePredictor, long: str | None, cut: tuple[int, int]
) -> None:
    rows = texts(["a", "b"])
    rows[0]["text"] = "x " * 100
    choices = {"max_length": 32, "long": long}
    predictor, read = make_predictor(Case("classify", rows, [], object, "", choices))
    lengths = facts_of(predictor, read, "rows").evaluation.lengths
    assert lengths.counts[102] == 1
    assert len(lengths.counts) == 103
    assert lengths.limit == 32
    assert (lengths.cut_tokens, lengths.cut_rows) == cut


def test_text_and_labels_never_become_markup(make_predictor: MakePredictor) -> None:
    labels = ["<i>one</i>", "\u202etwo", "$three$", '" onload="x']
    rows = [
        {"text": HOSTILE[i % len(HOSTILE)] + f" {i}", "label": labels[i % len(labels)]}
        for i in range(24)
    ]
    rows[1]["text"] += "y" * 1_000_000
    predictor, read = make_predictor(Case("classify", rows, [], object, ""))
    # Files can't hold these characters, but tables in memory can.
    read[0] = replace(read[0], place=Place(read[0].place.path, 1, "half \ud83d"))
    html = page(facts_of(predictor, read, f"half \ud83d {HOSTILE[0]}"))
    html.encode("utf-8")
    assert len(html) < 300_000
    parsed = Parsed(html)
    assert not parsed.tags & {"script", "img", "link", "iframe", "object", "base", "form"}
    assert not any(name.startswith("on") for name in parsed.attributes)
    assert "<script>alert(1)</script>" in parsed.text
    assert "‹U+202E›" in parsed.text
    assert not set(parsed.text) & set("\u202e\u2066\u0000\x1b\u2028")
    assert not re.search(r'(?:src|href)="(?!#)', html)


@given(st.text(alphabet=st.characters(codec=None)))
def test_escaped_text_reads_as_itself(value: str) -> None:
    shown = templates().from_string("{{ value }}").render(value=value)
    shown.encode("utf-8")
    assert not Parsed(shown).tags
    named = re.sub("‹U\\+([0-9A-F]{4})›", lambda found: chr(int(found[1], 16)), unescape(shown))
    assert named == value or "‹U+" in value


@pytest.mark.parametrize(("package", "n"), [(None, 3), ("onelayer.shrinking", 5)])
def test_no_template_turns_escaping_off(package: str | None, n: int) -> None:
    made = templates(package)
    assert made.autoescape is True
    sources = [made.loader.get_source(made, name)[0] for name in made.list_templates(["jinja"])]
    assert len(sources) == n
    for source in sources:
        assert not re.search(r"\|\s*safe\b|autoescape|<script|\son\w+=", source)
    with pytest.raises(UndefinedError):
        made.from_string("{{ nothing }}").render()


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, list[Mark]]:
    value = draw(st.text(alphabet="ab <&北🙂", max_size=30)) * draw(st.integers(1, 120))
    places = st.tuples(st.integers(0, len(value)), st.integers(0, len(value)))
    kinds = st.sampled_from(["gold", "predicted", "right"])
    drawn = draw(st.lists(st.tuples(places, kinds), max_size=6))
    return value, [Mark(min(at), max(at), kind, "X") for at, kind in drawn if at[0] != at[1]]


def drawn(value: str, marks: list[Mark]) -> str:
    """The HTML of an excerpt."""
    sections = templates().get_template("sections.html.jinja")
    return str(sections.module.marked(excerpt(value, marks).pieces))


def plain(html: str) -> str:
    """The text of an excerpt, without the labels of its marks."""
    return Parsed(re.sub("<rt>.*?</rt>", "", html)).text


@given(marked())
@example((" ", [Mark(0, 1, "gold", "X")]))
def test_excerpt_shows_the_mistake_and_fits_its_room(case: tuple[str, list[Mark]]) -> None:
    value, marks = case
    text = plain(drawn(value, marks))
    begins, *others = text.split("…")  # the space after "…" isn't the text's own
    pieces = [piece for piece in (begins, *(o.removeprefix(" ") for o in others)) if piece]
    assert all(piece in value for piece in pieces)
    assert len(text) <= MAX_CHARACTERS + 2 * MIN_OMITTED + 2 * len(pieces) + 1
    assert excerpt(value, marks).is_whole == (text == value)
    if len(value) <= MAX_WHOLE or (not marks and len(value) <= MAX_CHARACTERS):
        assert text == value
    first = min(marks, key=lambda m: m.kind == "right", default=None)
    if first is not None:
        assert any(value[first.start : first.start + 8] in piece for piece in pieces)


def test_excerpt_of_a_long_text_shows_mistakes_first() -> None:
    value = "".join(f"{i:04} " for i in range(2000))
    right = [Mark(at, at + 4, "right") for at in range(0, 8000, 500)]
    text = plain(drawn(value, [*right, Mark(9000, 9500, "gold")]))
    assert not text.startswith("…")  # there is room for the first right mark, too
    assert " 1799 1800 1801 " in text
    assert " 1899 1900 1901 " in text
    assert "1850" not in text
    assert len(text) <= MAX_CHARACTERS + 8


ENGLISH = [
    f"In {year} Mr. Jones opened a bridge, e.g. over the river." for year in range(1900, 1940)
]
CHINESE = [
    f"{year}年这座城市修建了一座新的大桥，市长先生主持了开幕仪式。" for year in range(1900, 1940)
]


@pytest.mark.parametrize(("sentences", "gap"), [(ENGLISH, " "), (CHINESE, "")])
def test_long_marked_text_shows_the_sentences_of_its_marks(sentences: list[str], gap: str) -> None:
    value = gap.join(sentences)
    at, other = value.index("1910"), value.index("1930")
    marks = [Mark(at + 8, at + 12, "gold"), Mark(other + 6, other + 9, "predicted")]
    text = plain(drawn(value, marks))
    assert text == f"…{gap}{sentences[10]}{gap}…{gap}{sentences[30]}{gap}…"


def test_short_end_of_a_text_is_not_left_out() -> None:
    value = " ".join(ENGLISH[:5]) + " The end."
    at = value.index("1904")
    assert plain(drawn(value, [Mark(at, at + 4, "gold")])) == f"… {ENGLISH[4]} The end."


def test_overlapping_marks_read_as_one_text() -> None:
    marks = [Mark(2, 6, "gold", "PER"), Mark(4, 8, "predicted", "LOC")]
    html = drawn("a bcdefg h", marks)
    assert html == (
        'a <ruby class="under"><span class="gold">bc</span>'
        '<rt><b class="gold">PER</b></rt></ruby>'
        '<ruby class="over"><span class="gold predicted">de</span>'
        '<rt><b class="predicted">LOC</b></rt></ruby>'
        '<span class="predicted">fg</span> h'
    )
    assert plain(html) == "a bcdefg h"


def test_label_stands_at_the_longest_piece_of_its_mark() -> None:
    gold, predicted = Mark(0, 5, "gold", "ORG"), Mark(0, 2, "predicted", "LOC")
    first, second = excerpt("北京大学堂", [gold, predicted]).pieces
    assert (first.over, first.under) == ((predicted,), ())
    assert (second.over, second.under) == ((), (gold,))


def test_rows_are_counted_in_whole_numbers() -> None:
    drawing = residuals(np.zeros(20), np.linspace(-1, 1, 20) ** 3).drawing
    counts = re.findall(r"<text[^>]*text-anchor: end[^>]*>([^<]*)</text>", drawing)
    assert len(counts) > 2
    assert all(count.isdigit() for count in counts), counts


@given(st.integers(1, 5000), st.integers(0, 2**32 - 1))
def test_thinned_curve_keeps_the_mean(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    steps, thinned = thin(values)
    assert len(steps) == len(thinned) == min(n, MAX_CURVE_POINTS)
    assert (np.diff(steps) > 0).all()
    weights = np.diff([0, *(np.arange(1, len(steps)) * n // len(steps)), n])
    np.testing.assert_allclose(weights @ thinned / n, values.mean(), atol=1e-9)
    np.testing.assert_allclose(weights @ steps / n, (n + 1) / 2)


def test_many_classes_show_a_list_of_confusions_instead_of_a_matrix(
    make_predictor: MakePredictor,
) -> None:
    facts = facts_of(*make_predictor(CASES[0]), "rows")
    few, many = page(many_classes(facts, 30)), page(many_classes(facts, 150))
    assert few.count('class="hit"') == 30
    assert 'class="hit"' not in many
    text = re.sub(r"\s+", " ", Parsed(many.partition('id="confusions"')[2]).text)
    assert "class 3 class 7 9 64.3% class 1 class 2 1 16.7%" in text
    assert len(many) < 400_000


@pytest.mark.parametrize(
    ("scores", "perfect", "shown"),
    [
        (
            {"accuracy": 0.085, "mcc": -0.000157, "log_loss": 2.916},
            1,
            ["0.0850", "-0.0002", "2.9160"],
        ),
        ({"em": 1.25, "f1": 4.028, "all": 100.0}, 100, ["1.25", "4.03", "100.00"]),
        ({"rmse": 1234.5, "pearson": -1e-9}, 1, ["1,234.5000", "0.0000"]),
        ({"rmse": 0.0000123, "pearson": 0.5}, 1, ["0.0000123", "0.5000000"]),
        ({"rmse": 0.0, "pearson": math.nan}, 1, ["0.0000", "–"]),
    ],
)
def test_scores_have_the_same_decimals(
    make_predictor: MakePredictor, scores: dict[str, float], perfect: float, shown: list[str]
) -> None:
    facts = facts_of(*make_predictor(CASES[0]), "rows")
    interval = dict.fromkeys(scores, (0.5, 1.0))
    of = replace(facts.evaluation, scores=scores, intervals=interval, perfect=perfect)
    lines = tables.scores(of)
    assert [line.value for line in lines] == shown
    decimals = len(shown[0].partition(".")[2])
    assert lines[0].interval == (f"{0.5:.{decimals}f}", f"{1:.{decimals}f}")
    html = page(replace(facts, evaluation=of, metric=next(iter(scores))))
    assert f"<strong>{shown[0]}</strong>" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.1, "0.1"), (7.2e-4, "0.00072"), (3.0, "3"), (8192, "8,192"), (True, "True")],
)
def test_recipe_is_written_as_a_person_would(value: object, shown: str) -> None:
    assert templates().from_string("{{ value|setting }}").render(value=value) == shown


def test_columns_of_classes_have_the_same_decimals() -> None:
    values = {"f1": 1.0, "average precision": 1.0, "support": 1200, "threshold": 1.0}
    lines = tables.by_label({"a": values, "b": values | {"average precision": math.nan}}).open
    assert [cell.text for cell in lines[0][1]] == ["1.000", "1.000", "1,200", "1.000"]
    assert lines[1][1][1].text == "–"


@pytest.mark.slow
def test_report_of_100_000_steps_stays_small(make_predictor: MakePredictor) -> None:
    facts = facts_of(*make_predictor(CASES[0]), "rows")
    n = 100_000
    noise = np.random.default_rng(0).random(n)
    learning = Learning(noise, noise, np.full(n, 100), noise + 0.1, ((n, 0.5),), "accuracy", n)
    assert len(page(replace(facts, learning=learning))) < 400_000


@pytest.mark.slow
def test_training_writes_the_report_of_its_dev_file(tmp_path: Path, bert: Path) -> None:
    file, dev = (
        CASES[0].write(tmp_path / name) for name in ("a", "b") if not (tmp_path / name).mkdir()
    )
    model = onelayer.finetune(file, dev=dev, out=tmp_path / "run", model=str(bert), epochs=1)
    assert model.record is not None
    data = model.record.data
    assert data is not None
    content = sha256(file.read_bytes()).hexdigest()
    assert data.train_sha256 == data.dev_sha256 == content
    made = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert content in made
    assert "Tokens a second" in made
    again = tmp_path / "again.html"
    report_file(tmp_path / "run", dev, again, Columns(), lambda _: None)
    assert again.read_text(encoding="utf-8") == made
    assert cli.main(["report", str(tmp_path / "run"), str(dev), "--out", str(again)]) == 0
    assert not [path for path in tmp_path.rglob(".*") if "report" in path.name]


def test_failed_report_is_one_warning(
    tmp_path: Path, bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(trainer, "write_report", fail)
    file = CASES[0].write(tmp_path)
    given = ["train", str(file), "--out", str(tmp_path / "run"), "--model", str(bert)]
    assert cli.main([*given, "--epochs", "1"]) == 0
    assert capsys.readouterr().err.count("warning: no report.html: no ink") == 1
    assert onelayer.load(tmp_path / "run").predict(["a cat"])


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast ratio of WCAG 2, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_has_enough_contrast(scheme: int) -> None:
    style = (files("onelayer.evaluation.report") / "style.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--(\w+): light-dark\(#(\w{6}), #(\w{6})\)", style)
    colours = {
        name: tuple(int(both[scheme][i : i + 2], 16) / 255 for i in (0, 2, 4))
        for name, *both in pairs
    }
    for name in ("ink", "faint", "blue", "orange"):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    shades = re.findall(r"var\(--(blue|orange)\) calc\(var\(--share\) \* (\.\d+)\)", style)
    assert len(shades) == 2
    for name, share in shades:
        mixed = zip(colours[name], colours["page"], strict=True)
        cell = tuple(a * float(share) + b * (1 - float(share)) for a, b in mixed)
        assert contrast(colours["ink"], cell) >= 4.5, name


def test_picture_of_the_dev_score_shows_how_uncertain_it_is() -> None:
    learning = Learning(
        losses=[1.0] * 20,
        evaluations=[(10, 0.90), (20, 0.95)],
        metric="accuracy",
        best_step=20,
        interval=(0.7, 1.0),
    )
    picture = dev_score(learning)
    assert picture is not None
    assert "95 % interval of the best, 0.7 to 1" in picture.says
    without = dev_score(replace(learning, interval=None))
    assert without is not None
    assert "interval" not in without.says
