"""The part of a rung's model card that says what it costs compared with its run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from onelayer.base.disk import rewrite
from onelayer.base.wording import clipped
from onelayer.shrinking.rung import Rung
from onelayer.shrinking.shrunk import (
    Shrunk,
    decimal_text,
    points_interval,
    points_text,
    probability_text,
    score_interval,
    score_text,
)

CARD = "README.md"
TITLE = "## Compared with the run"
_SECTION = re.compile(rf"^{TITLE}\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
_USE = re.compile(r"^## Use$", re.MULTILINE)


def write_rung_cards(shrunk: Shrunk) -> None:
    """Adds the section to the card of each bundle of the ladder. Raises OneLayerError where the
    disk refuses."""
    for rung in shrunk.rungs:
        card = Path(shrunk.folder, rung.model or "", CARD)
        if rung.model and card.is_file():
            text = card.read_text(encoding="utf-8")
            if (changed := with_price(text, rung, shrunk.run)) != text:
                rewrite(card, changed)


def with_price(card: str, rung: Rung, run: str) -> str:
    """A card with the section before its usage, in place of an earlier one."""
    without = _SECTION.sub("", card)
    found = _USE.search(without)
    at = found.start() if found else len(without)
    return f"{without[:at]}{_price_section(rung, run)}\n\n{without[at:]}"


def renamed(card: str, old: str, new: str) -> str:
    """A bundle's card after the bundle was copied to another name: title and example commands."""
    where = rf"(^# |^ *- name: [\"']?|path/to/){re.escape(old)}(?=[\"'\s]|$)"
    return re.sub(where, lambda found: found[1] + new, card, flags=re.MULTILINE)


def _price_section(rung: Rung, run: str) -> str:
    scored = [("dev", rung.dev)] + ([("test", rung.test)] if rung.test else [])
    scores = [["rows", rung.dev.metric, "95 % interval", "points lost", "95 % interval", "p"]]
    for split, one in scored:
        rows = f"{split}: `{_plain(one.file)}`, {one.rows:,}"
        cells = [rows, score_text(one.score), score_interval(one), points_text(one.lost)]
        scores.append([*cells, points_interval(one), probability_text(one.p)])
    speeds = [["threads", "ms a text", "texts/s"]]
    for threads, speed in sorted(rung.speeds.items()):
        ms = decimal_text(speed.latency_ms)
        speeds.append([str(threads), ms, f"{speed.texts_per_second:,.0f}"])
    return "\n\n".join(
        [
            TITLE,
            f"`{_plain(rung.name)}` of the smaller models below `{_plain(Path(run).name or run)}`: "
            f"{_plain(rung.what)}. Points lost are against that run on the same rows, with a "
            "paired interval and the p-value of a paired test:",
            _markdown_table(scores),
            f"{decimal_text(rung.bytes / 1e6)} MB are read to predict. From text to answer:",
            _markdown_table(speeds),
        ]
    )


def _markdown_table(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _plain(text: str) -> str:
    """A name without what Markdown would read as its own."""
    return re.sub(r"[`|<>\[\]]", "'", clipped(text))
