"""The model card: the ``README.md`` of a run, with metadata for the Hub."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onelayer.checkpoint.families import family_with_class
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.record import TaughtRecord
from onelayer.tasks import AnyTask

# Transformers' pipelines, by the part after ``For`` in the name of a model's class.
_PIPELINES = {
    "SequenceClassification": "text-classification",
    "TokenClassification": "token-classification",
}
_NAMED = 50
"""Labels that a card lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """The content of a model card."""

    name: str
    """The run's name."""
    task: AnyTask
    architecture: str
    base_model: str
    """As the user named it."""
    hub_name: str | None = None
    """The base model's name on the Hub, where it has one."""
    taught: TaughtRecord | None = None
    """How a trained model taught it, where one did."""
    data: str
    """The name of the file it was trained on."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """How many rows each split has: ``{"train": 800, "dev": 100}``."""
    method: Sequence[str] = ()
    """How it was trained, in words, where it wasn't in epochs alone."""
    labels: Sequence[str] | None = None
    split: str = "dev"
    """The rows on which the scores were measured."""
    scores: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The 95 % interval of each score that has one."""
    caveats: Sequence[str] = ()
    """What the scores can't tell, in words."""
    tags: Sequence[str] = ()
    """Tags besides those of every run."""


def model_card(facts: CardFacts, closing: str | None = None) -> str:
    """A Hugging Face model card in Markdown, with metadata. The owner has to add the license.

    Parameters
    ----------
    facts
        The card's content.
    closing
        The sections after the scores; by default how to use a run.
    """
    scores = {name: score for name, score in facts.scores.items() if math.isfinite(score)}
    sections = [_metadata(facts, scores), f"# {facts.name}\n\n{_summary(facts)}"]
    if facts.labels:
        sections.append(f"## Labels\n\n{_label_list(facts.labels)}")
    if scores:
        sections.append(f"## Scores on {facts.split}\n\n{_score_table(facts, scores)}")
        sections += [_sentence(caveat) for caveat in facts.caveats]
    sections.append(closing or f"## Use\n\n{_usage(facts)}")
    return "\n\n".join(sections) + "\n"


def _metadata(facts: CardFacts, scores: Mapping[str, float]) -> str:
    """The YAML header. Names are written as JSON strings, which are valid YAML with any content."""
    tag = facts.task.pipeline_tag
    tags = (_family(facts).model_type, "onelayer", *facts.tags)
    lines = ["---", "library_name: transformers", f"pipeline_tag: {tag}"]
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    if facts.hub_name:
        lines.append(f"base_model: {_quoted(facts.hub_name)}")
    if scores:
        lines += ["metrics:", *(f"- {_quoted(name)}" for name in scores)]
        lines += [
            "model-index:",
            f"- name: {_quoted(facts.name)}",
            "  results:",
            f"  - task: {{type: {tag}}}",
            f"    dataset: {{name: {_quoted(facts.data)}, type: local, "
            f"split: {_quoted(facts.split)}}}",
            "    metrics:",
            *(
                f"    - {{type: {_quoted(name)}, value: {score:.6f}}}"
                for name, score in scores.items()
            ),
        ]
    return "\n".join([*lines, "---"])


def _family(facts: CardFacts) -> Family:
    return family_with_class(facts.architecture)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _summary(facts: CardFacts) -> str:
    counts = ", ".join(f"{count:,} {split} rows" for split, count in facts.rows.items())
    base = facts.hub_name or facts.base_model
    method = "".join(f" {_sentence(each)}" for each in facts.method)
    if (it := facts.taught) is not None:
        return (
            f"This {_family(facts).title} {facts.task.aim}. It is {it.what}, and "
            f"learned the answers of `{it.by}` to {it.lessons}, by onelayer. Every choice of the "
            "run is kept in `onelayer.json`."
        )
    return (
        f"This {_family(facts).title} {facts.task.aim}. It is `{base}` with one new "
        f"fully connected layer, fine-tuned on `{facts.data}`{f' ({counts})' if counts else ''} by "
        f"onelayer.{method} Every choice of the run is kept in `onelayer.json`."
    )


def _label_list(labels: Sequence[str]) -> str:
    shown = ", ".join(f"`{label}`" for label in labels[:_NAMED])
    more = len(labels) - _NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _sentence(caveat: str) -> str:
    # Labels may hold Markdown.
    text = re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(caveat.split()))
    return text[:1].upper() + text[1:] + "." * (not text.endswith("."))


def _score_table(facts: CardFacts, scores: Mapping[str, float]) -> str:
    lines = ["| metric | score | 95 % interval |", "|---|---|---|"]
    for name, score in scores.items():
        low, high = facts.intervals.get(name, (math.nan, math.nan))
        interval = f"{low:.4f} to {high:.4f}" if math.isfinite(low + high) else ""
        lines.append(f"| {name} | {score:.4f} | {interval} |")
    return "\n".join(lines)


def _usage(facts: CardFacts) -> str:
    form = _family(facts).classes[facts.architecture].form or ""
    if tag := _PIPELINES.get(form):
        theirs = (
            "from transformers import pipeline\n\n"
            f'pipe = pipeline("{tag}", model="path/to/{facts.name}")\n'
            'pipe("a text")'
        )
    else:
        theirs = (
            f"from transformers import AutoTokenizer, {facts.architecture}\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("path/to/{facts.name}")\n'
            f'model = {facts.architecture}.from_pretrained("path/to/{facts.name}")'
        )
    ours = (
        "import onelayer\n\n"
        f'model = onelayer.load("path/to/{facts.name}")\n'
        f"model.predict({facts.task.example})"
    )
    return (
        f"With onelayer:\n\n```python\n{ours}\n```\n\n"
        "With transformers, which opens the same directory and gives the plain logits, without "
        "what onelayer decodes from them (a temperature and thresholds, where there are any):\n\n"
        f"```python\n{theirs}\n```"
    )
