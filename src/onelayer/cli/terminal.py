"""What a command prints: results on stdout, remarks on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from onelayer.base.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from onelayer.prediction.formats import Predicted
    from onelayer.training.progress import Reporter


def print_item(name: str, value: Any, indent: str = "") -> None:
    if value is None or value == {} or value == []:
        return
    if isinstance(value, dict):
        print(f"{indent}{name}:")
        for key, item in list(value.items())[:40]:
            print_item(str(key), item, indent + "  ")
    elif isinstance(value, list) and not all(isinstance(item, (int, float)) for item in value):
        print(f"{indent}{name}:")
        for item in value[:40]:
            print(f"{indent}  {item}")
    else:
        text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        print(f"{indent}{name}: {text}")


def print_inspection(result: dict[str, Any], n_rows: int) -> None:
    """What is in a file or a run, and the first rows of what is listed."""
    lists = ("conflicting labels", "in several files", "wrong labels")
    for name, value in result.items():
        if name not in lists:
            print_item(name, value)
    for name in filter(result.get, lists[:2]):
        for group in _first(result[name], name, n_rows):
            print(f"  {group['text']}")
            for row in group["rows"]:
                print(f"    {row['file']}:{row.get('line', row.get('id'))}: {row['label']}")
    if wrong := result.get("wrong labels"):
        print(f"labels judged {wrong['judged']}")
        if wrong["not judged"]:
            print(f"  {wrong['not judged']:,} rows have labels too rare to be judged")
        for row in _first(wrong["list"], "labels that are probably wrong", n_rows):
            sure = "" if row["probability"] is None else f" ({_figure(row['probability'])})"
            print(f"  {row.get('line', row.get('id'))}: {row['given']} -> {row['likely']}{sure}")
            print(f"    {row['text']}")


def _first(rows: list[Any], title: str, n: int) -> list[Any]:
    """Says how many there are; the ones to print."""
    print(f"{title}: {len(rows):,}" + (f", the first {n}" if len(rows) > n else ""))
    return rows[:n]


def print_scores(
    scores: dict[str, float | None], bounds: dict[str, Sequence[float | None]], title: str
) -> None:
    print(title)
    for name, value in scores.items():
        low, high = bounds.get(name, (None, None))
        interval = f"  95 % interval {_figure(low)} to {_figure(high)}" if low is not None else ""
        print(f"  {name:<20} {_figure(value):>8}{interval}")


def print_table(
    by_label: dict[str, dict[str, float]], bounds: dict[str, dict[str, Sequence[float | None]]]
) -> None:
    from rich.cells import cell_len, set_cell_size

    if not by_label:
        return
    columns = list(next(iter(by_label.values())))
    width = max(map(cell_len, by_label))
    titles = "".join(f"{column:>11}" for column in columns)
    print("  " + " " * width + titles + "  f1's 95 % interval")
    for label, values in by_label.items():
        low, high = bounds[label]["f1"]
        figures = "".join(f"{_figure(values[c]):>11}" for c in columns)
        print(f"  {set_cell_size(label, width)}{figures}  {_figure(low)} to {_figure(high)}")


def print_grid(rows: Sequence[Sequence[str]]) -> None:
    """Texts in columns, the first of them to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        print("  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip())


def print_comparison(result: dict[str, Any], n_rows: int) -> None:
    """What ``runtime.compare`` found, and the first changed rows in either direction."""
    print(f"{result['file']}, {result['rows']:,} rows; A = {result['a']}, B = {result['b']}")
    print(f"  {'':<20} {'A':>8} {'B':>8} {'B - A':>9}  {'95 % interval':<20} p")
    for name, it in result["metrics"].items():
        a, b = _figure(it["a"]), _figure(it["b"])
        by, low, high = (_signed(x) for x in (it["difference"], *it["interval"]))
        p = "–" if it["p"] is None else f"{it['p']:.2g}"
        print(f"  {name:<20} {a:>8} {b:>8} {by:>9}  {f'{low} to {high}':<20} {p}")
    print(result["verdict"])
    for side, other in (("b", "a"), ("a", "b")):
        nearer = [row for row in result["changed"] if row["nearer"] == side]
        print(f"{len(nearer):,} rows where {side.upper()} is nearer to the gold label")
        for row in nearer[:n_rows]:
            place = row.get("line", row.get("id"))
            said = f"{side.upper()} {row[side]}, {other.upper()} {row[other]}, gold {row['gold']}"
            print(f"  {place}: {said}: {row['text']}")
    if others := sum(row["nearer"] is None for row in result["changed"]):
        print(f"{others:,} rows where they differ and neither is nearer")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4g}"


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4g}"


def print_predictions(chunks: Iterable[Sequence[Predicted]], form_name: str) -> int:
    """Writes each chunk to stdout as soon as it is there; returns the number of rows."""
    from onelayer.prediction.formats import form_of

    if form_name == "parquet":
        raise UsageError("parquet is no text for a terminal", hint="give --out FILE.parquet")
    form, n = form_of(form_name), 0
    for chunk in chunks:
        before = b"" if n else form.begin(chunk)
        sys.stdout.buffer.write(before + form.body(chunk))
        sys.stdout.buffer.flush()
        n += len(chunk)
    return n


class RowBar:
    """How far a file's rows are: a bar on a terminal, a line now and then elsewhere."""

    EVERY = 30.0
    """Seconds between two lines."""

    def __init__(self) -> None:
        self.begun = self.said_at = time.monotonic()
        self.before: tuple[int, float] | None = None
        self.bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def say(self, remark: str) -> None:
        if self.bar:
            self.bar.console.print(f"· {remark}", markup=False, soft_wrap=True)
        else:
            say(remark)

    def rows(self, done: int, share: float | None) -> None:
        now = time.monotonic()
        if self.before is None:
            # What an earlier process did says nothing of this one's speed.
            self.before, self.begun = (done, share or 0.0), now
            return
        first, first_share = self.before
        seconds = max(now - self.begun, 1e-9)
        state = f"{done:,} rows, {(done - first) / seconds:,.0f} rows/s"
        if share and share > first_share:
            left = timedelta(seconds=round(seconds * (1 - share) / (share - first_share)))
            state += f", {left} left"
        if sys.stderr.isatty():
            self._draw(state, share)
        elif now - self.said_at > self.EVERY:
            self.said_at = now
            say(state)

    def _draw(self, state: str, share: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self.bar is None:
            columns = (TextColumn("predicting"), BarColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.add_task("", total=1.0)
            self.bar.start()
        task = self.bar.tasks[0]
        self.bar.update(task.id, description=state, completed=share or 0.0, total=share and 1.0)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def say(remark: str) -> None:
    print(f"· {remark}", file=sys.stderr)


def reporter(as_json: bool) -> Reporter:
    from onelayer.training.progress import Bar, JsonLines

    return JsonLines() if as_json or not sys.stderr.isatty() else Bar()
