"""Facts in, a page out: one file without scripts that asks no network for anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from onelayer.evaluation.report import pictures, tables
from onelayer.evaluation.report.excerpts import excerpt
from onelayer.evaluation.report.facts import (
    Beliefs,
    Evaluation,
    Facts,
    Learning,
    Lengths,
    Mistake,
    Passage,
)
from onelayer.evaluation.report.markup import Html, clipped, join, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(facts: Facts) -> str:
    """``report.html``. The same facts give the same bytes."""
    sections = [(title, body) for title, body in _sections(facts) if body]
    title = f"{clipped(facts.name)}: {facts.task}"
    style = Html((files("onelayer.evaluation.report") / "style.css").read_text(encoding="utf-8"))
    links = (tag("a", title, href=f"#{_anchor(title)}") for title, _ in sections)
    body = (
        tag(
            "section",
            tag("h2", tag("a", title, href=f"#{_anchor(title)}")),
            content,
            id=_anchor(title),
        )
        for title, content in sections
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )
    whole = tag(
        "body", _header(facts), tag("nav", *links, aria_label="sections"), tag("main", *body)
    )
    return f"<!doctype html>\n{tag('html', head, whole, lang='en')}\n"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _header(facts: Facts) -> Html:
    of = facts.evaluation
    schemes = (
        tag(
            "label",
            tag("input", type="radio", name="scheme", id=scheme, checked=checked),
            scheme,
        )
        for scheme, checked in (("auto", ""), ("light", None), ("dark", None))
    )
    value = of.scores.get(facts.metric, math.nan)
    low, high = of.intervals.get(facts.metric, (math.nan, math.nan))
    between = f"{tables.figure(low)} to {tables.figure(high)}" if math.isfinite(low + high) else ""
    return tag(
        "header",
        tag("fieldset", *schemes, aria_label="colours"),
        tag("h1", clipped(facts.name)),
        tag("p", f"{facts.task}: {clipped(_aim(facts), 300)}"),
        tag(
            "p",
            tag("strong", tables.figure(value)),
            tag("span", f" {facts.metric.replace('_', ' ')} {between and f'({between})'}"),
            tag("span", f" on {of.rows:,} rows of {clipped(of.file)}"),
            class_="headline",
        ),
    )


def _aim(facts: Facts) -> str:
    """What was to be learned. A saved regression no longer knows the numbers that it learned from,
    their unit being folded into its layer."""
    if facts.evaluation.numbers is None:
        return facts.summary
    gold, _ = facts.evaluation.numbers
    return f"numbers, here from {gold.min():.4g} to {gold.max():.4g}"


def _sections(facts: Facts) -> Iterator[tuple[str, Html | None]]:
    of = facts.evaluation
    heading = "type" if facts.task == "tag" and of.confusions is None else "label"
    yield "Scores", tables.scores(of)
    yield "Learning", _learning(facts.learning)
    if of.numbers is not None:
        pair = _figures(
            ("Predicted against gold", pictures.scatter(*of.numbers)),
            ("Errors", pictures.residuals(*of.numbers)),
        )
        yield "Numbers", pair
    if of.by_label:
        yield f"Each {heading}", tables.by_label(of.by_label, heading)
    if of.confusions is not None:
        whole = len(of.confusions.labels) <= tables.MATRIX
        draw = tables.confusion_matrix if whole else tables.top_confusions
        yield "Confusions", draw(of.confusions)
    if of.beliefs is not None:
        yield "Reliability", _reliability(of.beliefs, facts)
    yield "Lengths", _lengths(of.lengths, facts.record.get("task", {}))
    if of.mistakes:
        yield "Worst mistakes", _mistakes(of)
    yield "Recipe and data", _record(facts.record)


def _learning(of: Learning) -> Html | None:
    drawn = (
        ("Training loss", pictures.loss(of)),
        (f"Dev {of.metric.replace('_', ' ')}", pictures.dev_score(of)),
        ("Learning rate", pictures.learning_rate(of)),
        ("Tokens a second", pictures.throughput(of)),
    )
    return _figures(*drawn) if any(svg for _, svg in drawn) else None


def _figures(*titled: tuple[str, Html | None]) -> Html:
    drawn = (
        tag("figure", tag("figcaption", title), svg) for title, svg in titled if svg is not None
    )
    return tag("div", *drawn, class_="figures")


def _beside(drawn: Html, told: str) -> Html:
    return tag("div", drawn, tag("p", told), class_="beside")


def _reliability(of: Beliefs, facts: Facts) -> Html:
    n = int(of.counts.sum())
    told = (
        f"Of {n:,} predictions those with about the same probability are taken together. On the "
        "dashed line a probability is the share that comes true; below it the model is too sure. "
        "Upright lines are 95 % intervals; a larger dot stands for more predictions."
    )
    if temperature := (facts.record.get("task", {}).get("calibration") or {}).get("temperature"):
        told += f" The temperature, fitted on dev, is {temperature:.3g}."
    return _beside(_figures(("Probability and truth", pictures.reliability(of))), told)


def _lengths(of: Lengths, task: Mapping[str, Any]) -> Html:
    sequences = int(of.counts.sum())
    over = int(of.counts[of.limit + 1 :].sum())
    tokens = int((of.counts * range(len(of.counts))).sum())
    things = "sequences, one an option" if of.of_options else "rows"
    share = f"{over:,} ({over / sequences:.1%}) are" if over else "none is"
    told = f"{sequences:,} {things}: {share} longer than the limit."
    if of.cut_tokens:
        told += (
            f" The limit cost {of.cut_tokens:,} tokens ({of.cut_tokens / tokens:.1%}) "
            f"of {of.cut_rows:,} rows."
        )
    elif over:
        told += " They are read in windows: nothing is lost."
    if pooling := task.get("pooling_scores"):
        each = ", ".join(f"{how} {score:.4f}" for how, score in pooling.items())
        told += f" On dev, each way of bringing windows together scored: {each}."
    return _beside(_figures(("Tokens", pictures.lengths(of))), told)


def _mistakes(of: Evaluation) -> Html:
    marked = any(passage.marks for m in of.mistakes for passage in m.passages)
    shown, wrong = len(of.mistakes), of.wrong
    told = f"The worst {shown} of {wrong:,} rows that are not all right, of {of.rows:,} in all."
    if of.numbers is not None:
        told = f"The {shown} largest errors among {of.rows:,} rows."
    legend = tag(
        "p",
        "Below the line: ",
        tag("span", "gold", class_="gold"),
        ". Above it: ",
        tag("span", "predicted", class_="predicted"),
        ". Dotted: ",
        tag("span", "both", class_="right"),
        ".",
        class_="marked",
    )
    listed = tag("ol", *map(_mistake, of.mistakes), class_="mistakes")
    return join([tag("p", told), legend if marked else "", listed])


def _mistake(of: Mistake) -> Html:
    said = [("gold", of.gold), ("predicted", of.predicted)]
    pairs = (
        tag("div", tag("dt", name), tag("dd", clipped(value, 200), dir="auto", lang=""))
        for name, value in said
        if value
    )
    options = (
        tag(
            "li",
            tag("span", clipped(option, 300), class_=kind or None, dir="auto", lang=""),
            tag("small", f" {p:.1%}{kind and f', {kind}'}"),
        )
        for option, p, kind in of.options
    )
    return tag(
        "li",
        tag("p", tag("b", of.where), f", row {of.row:,}: {of.remark}", class_="where"),
        tag("dl", *pairs, class_="said") if of.gold else "",
        *(_passage(passage, len(of.passages) > 1) for passage in of.passages),
        tag("ul", *options) if of.options else "",
    )


def _passage(of: Passage, named: bool) -> Html:
    return tag(
        "div",
        tag("small", of.role) if named else "",
        tag("p", excerpt(of.text, of.marks), dir="auto", lang=""),
        class_="passage marked" if of.marks else "passage",
    )


def _record(record: Mapping[str, Any]) -> Html | None:
    if not record:
        return None
    recipe = {k: v for k, v in record["recipe"].items() if v is not None}
    parameters = record.get("parameters", {})
    numbers: dict[str, Any] = {f"parameters, {name}": n for name, n in parameters.items()}
    if seeds := record.get("seeds"):
        spread = f"{seeds['mean']:.4g} ± {seeds['deviation']:.2g} over {len(seeds['scores'])}"
        numbers["seeds"] = f"{seeds['metric']} {spread}, kept {seeds['kept']}"
    remarks = (tag("li", clipped(remark, 500)) for remark in record.get("choices", ()))
    return join(
        [
            tables.items([*record["data"].items(), *numbers.items()]),
            tag("details", tag("summary", "recipe"), tables.items(recipe.items()), open=""),
            tag("details", tag("summary", "what the run said"), tag("ul", *remarks)),
            tag("p", f"Made by onelayer {record.get('onelayer', '')}.", class_="made"),
        ]
    )
