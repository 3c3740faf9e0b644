"""Renders a report: one HTML file without scripts or network requests.

Python decides which sections there are and which values they show. The templates have all the
markup and text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Template
from markupsafe import Markup

from onelayer.base.json_values import to_plain
from onelayer.checkpoint.record import ModelRecord
from onelayer.evaluation.report import pictures, tables
from onelayer.evaluation.report.drawing import Picture
from onelayer.evaluation.report.facts import Learning, ReportFacts
from onelayer.evaluation.report.markup import templates


class Section(NamedTuple):
    """A section of a page: ``macro`` of its templates renders ``content``."""

    title: str
    macro: str
    content: Any

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


def page(facts: ReportFacts) -> str:
    """``report.html``. The same facts give the same bytes."""
    score, interval = tables.headline(facts.evaluation, facts.metric)
    document = templates().get_template("document.html.jinja")
    return render(document, _sections(facts), facts=facts, score=score, interval=interval)


def render(document: Template, sections: Iterable[Section], **values: Any) -> str:
    """A page of a template that extends ``page.html.jinja``."""
    style = (files("onelayer.evaluation.report") / "style.css").read_text(encoding="utf-8")
    return document.render(sections=list(sections), style=Markup(style), **values)


def _sections(facts: ReportFacts) -> Iterator[Section]:
    of = facts.evaluation
    yield Section("Scores", "scores", (tables.scores(of), of.caveats))
    if drawn := _learning(facts.learning):
        yield Section("Learning", "figures", drawn)
    if of.numbers is not None:
        drawn = {
            "Predicted against gold": pictures.scatter(*of.numbers),
            "Errors": pictures.residuals(*of.numbers),
        }
        yield Section("Numbers", "figures", drawn)
    if of.by_label:
        noun = facts.label_noun
        yield Section(f"Each {noun}", "classes", (noun, tables.by_label(of.by_label)))
    if of.confusions is not None and len(of.confusions.labels) <= tables.MAX_MATRIX_CLASSES:
        yield Section("Confusions", "matrix", tables.confusion_matrix(of.confusions))
    elif of.confusions is not None:
        yield Section("Confusions", "confusions", tables.top_confusions(of.confusions))
    task = facts.record.task if facts.record else None
    if of.beliefs is not None:
        temperature = task.label_temperature if task else None
        reliability = (of.beliefs, temperature, pictures.reliability(of.beliefs))
        yield Section("Reliability", "reliability", reliability)
    lengths = (of.lengths, task.pooling_scores if task else {}, pictures.lengths(of.lengths))
    yield Section("Lengths", "lengths", lengths)
    if of.mistakes:
        yield Section("Worst mistakes", "mistakes", of)
    if facts.record and facts.record.data:
        yield Section("Recipe and data", "record", (facts.record, _run_values(facts.record)))


def _learning(of: Learning) -> dict[str, Picture]:
    dev = f"Dev {of.metric.replace('_', ' ')}"
    if of.interval:
        dev += "; shaded: the 95 % interval of the best"
    drawn = {
        "Training loss": pictures.loss(of),
        dev: pictures.dev_score(of),
        "Learning rate": pictures.learning_rate(of),
        "Tokens a second": pictures.throughput(of),
    }
    return {title: picture for title, picture in drawn.items() if picture is not None}


def _run_values(record: ModelRecord) -> dict[str, Any]:
    """A run's data, parameter counts and seeds, by the names that the page shows."""
    known = dict(to_plain(record.data))
    parameters = to_plain(record.parameters) or {}
    known |= {f"parameters, {name}": n for name, n in parameters.items()}
    if seeds := record.seeds:
        spread = f"{seeds.mean:.4g} ± {seeds.deviation:.2g} over {len(seeds.scores)}"
        known["seeds"] = f"{seeds.metric} {spread}, kept {seeds.kept}"
    return known
