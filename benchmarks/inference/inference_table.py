"""The tables of inference_speed.py, in Markdown."""

from __future__ import annotations

from statistics import median
from typing import Any

Record = dict[str, Any]
MAX_POINTS_LOST = 1.0
"""Points of the metric that a contestant may lose and still count as equally accurate."""


def print_tables(results: list[Record]) -> None:
    if not results:
        return
    names = list(dict.fromkeys(name for r in results for name in [*r["turns"], *r["lost"]]))
    _print_speeds(results, names)
    _print_processor_time(results, names)
    _print_quality(results, names)
    print("\nSettings:\n")
    for r in results:
        settings = "; ".join(f"{name}: {setting}" for name, setting in r["settings"].items())
        print(f"- {r['shape']}, {r['set']}: {settings}")
    for r in results:
        for remark in r["lost"].values():
            print(f"\n{r['set']}, {r['shape']}: {remark}")


def _print_speeds(results: list[Record], names: list[str]) -> None:
    """Speeds are totals over the rounds. Ratios are medians over the rounds, by wall clock and by
    CPU time: the speed of the first contestant divided by that of each other one."""
    first, *others = names
    _row(
        "shape", "rows", "mean length", f"{first}", *(f"times {name}" for name in others), "rounds"
    )
    print("|" + "---|" * (len(others) + 5))
    for r in results:
        turns = r["turns"]
        cells = [r["shape"], f"{r['set']} ({r['rows']})", f"{r['tokens'] / r['rows']:.0f}"]
        cells.append(_speed(r, first) + _mark(r, first))
        for name in others:
            pair = (ratio(r, first, name), ratio(r, first, name, "cpu_seconds"))
            cells.append(" / ".join(f"{x:.2f}" for x in pair if x is not None) or "–")
            cells[-1] += _mark(r, name)
        _row(*cells, str(len(next(iter(turns.values())))))
    print(f"\nBy wall clock / by CPU time. *: loses more than {MAX_POINTS_LOST:g} point.\n")
    print("Compared with the fastest other engine:\n")
    for r in results:
        by_peer = {
            name: x
            for name in others
            if "int8" in name and (x := ratio(r, first, name)) is not None
        }
        if by_peer:
            fastest = min(by_peer, key=by_peer.__getitem__)
            print(f"- {r['shape']}, {r['set']}: {by_peer[fastest]:.2f} times {fastest}")


def _print_processor_time(results: list[Record], names: list[str]) -> None:
    print()
    _row("shape", "rows", *(f"{name}, tokens per CPU second" for name in names))
    print("|" + "---|" * (len(names) + 2))
    for r in results:
        _row(r["shape"], r["set"], *(_rate(r["turns"].get(name), "cpu_seconds") for name in names))


def _print_quality(results: list[Record], names: list[str]) -> None:
    """The metric on labelled rows, and the percentage of answers that equal those in fp32."""
    print()
    _row("shape", "rows", "fp32", *names)
    print("|" + "---|" * (len(names) + 3))
    for r in results:
        _row(r["shape"], r["set"], *(_quality(r["quality"].get(n)) for n in ["fp32", *names]))
    print("\nScore, share of answers equal to fp32's, distance of the logits / their spread.")


def _quality(found: dict[str, float] | None) -> str:
    if found is None:
        return "–"
    score = f"{found['score']:.1f}, " if "score" in found else ""
    return f"{score}{found['same']:.1f} %, {found['off']:.3f}"


def _mark(r: Record, name: str) -> str:
    return "*" if lost(r, name) > MAX_POINTS_LOST else ""


def lost(r: Record, name: str) -> float:
    """Points of the metric that a contestant is below fp32; 0 if there are no labels."""
    found = r["quality"].get(name, {})
    return float(r["quality"]["fp32"].get("score", 0) - found["score"]) if "score" in found else 0.0


def ratio(r: Record, a: str, b: str, per: str = "seconds") -> float | None:
    """Speed of ``a`` divided by the speed of ``b``, the median over the rounds."""
    turns = r["turns"]
    if a not in turns or b not in turns:
        return None
    pairs = zip(turns[a], turns[b], strict=True)
    return median((x["tokens"] / x[per]) / (y["tokens"] / y[per]) for x, y in pairs)


def _speed(r: Record, name: str) -> str:
    rounds = r["turns"].get(name)
    if not rounds:
        return "–"
    if r["way"] == "one":
        seconds, rows = (sum(x[k] for x in rounds) for k in ("seconds", "rows"))
        return f"{1000 * seconds / rows:.2f} ms a row"
    return f"{_rate(rounds, 'seconds')} tokens/s"


def _rate(rounds: list[Record] | None, per: str) -> str:
    if not rounds:
        return "–"
    return f"{sum(x['tokens'] for x in rounds) / sum(x[per] for x in rounds):,.0f}"


def _row(*cells: str) -> None:
    print("|", " | ".join(cells), "|")
