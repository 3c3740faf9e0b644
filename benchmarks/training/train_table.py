"""The tables of train_speed.py, in Markdown."""

from __future__ import annotations

import math
import statistics
from typing import Any

Record = dict[str, Any]
OURS = "onelayer"


def print_table(results: list[Record]) -> None:
    """One line for each data set and shape, then the geometric means of the ratios. Tokens are real
    tokens. Speeds are medians of the rounds, so a model that is compiled once more in one of them
    doesn't count as slow; ``--json`` has all rounds. On a busy machine, ratios and shares by CPU
    time vary less; they don't show how well the threads share the work."""
    if not results:
        return
    names = list(dict.fromkeys(name for r in results for name in [*r["contestants"], *r["lost"]]))
    peers = [name for name in names if name != OURS]
    dtypes = list(results[0]["gemm"])
    columns = [
        *("shape", "data set", "mean length", "padding"),
        *(f"tokens/s {name}" for name in names),
        *(f"times {name}" for name in peers),
        f"by CPU time {' / '.join(peers)}",
        f"peak MiB {' / '.join(names)}",
        *(f"{dtype} GEMM, GFLOP/s" for dtype in dtypes),
        *(f"share of {dtype} rate / by CPU time" for dtype in dtypes),
        "steps",
    ]
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    for result in results:
        print("|", " | ".join(cells(result, names, peers)), "|")
    print()
    for shape in dict.fromkeys(result["shape"] for result in results):
        print_means(shape, [r for r in results if r["shape"] == shape], peers)
    if len({result["shape"] for result in results}) > 1:
        print_means("all", results, peers)
    for result in results:
        for remark in result["lost"].values():
            print(f"\n{result['set']}, {result['shape']}: {remark}")
    chosen = [
        f"{attention} on {result['set']} ({result['shape']})"
        for result in results
        for attention in dict.fromkeys(result["attention"].values())
    ]
    if chosen:
        print(f"\nThe fastest attention implementation of the Trainer: {', '.join(chosen)}.")


def cells(result: Record, names: list[str], peers: list[str]) -> list[str]:
    speeds = {name: speed(result, name) for name in names}
    by_cpu = {name: speed(result, name, "cpu_seconds") for name in names}
    done = speed(result, OURS, what="operations")
    done_cpu = speed(result, OURS, "cpu_seconds", "operations")
    shares = [
        f"{done / rate['a_second']:.0%} / {done_cpu / rate['a_cpu_second']:.0%}"
        for rate in result["gemm"].values()
    ]
    found = result["contestants"]
    peaks = [f"{found[name]['peak'] / 2**20:,.0f}" if name in found else "–" for name in names]
    return [
        result["shape"],
        result["set"],
        f"{total(result, OURS, 'tokens') / total(result, OURS, 'sequences'):.0f}",
        padding(result, "Trainer"),
        *(f"{speeds[name]:,.0f}" for name in names),
        *(f"{speeds[OURS] / speeds[name]:.2f}" for name in peers),
        " / ".join(f"{by_cpu[OURS] / by_cpu[name]:.2f}" for name in peers),
        " / ".join(peaks),
        *(f"{r['a_second'] / 1e9:,.0f} ({r['kernel']})" for r in result["gemm"].values()),
        *shares,
        f"{total(result, OURS, 'steps'):.0f}",
    ]


def print_means(shape: str, results: list[Record], peers: list[str]) -> None:
    parts = []
    for peer in peers:
        ratios = [speed(r, OURS) / speed(r, peer) for r in results]
        ratios = [ratio for ratio in ratios if not math.isnan(ratio)]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            parts.append(f"{mean:.2f} times {peer} (least {min(ratios):.2f})")
    print(f"Geometric mean, {shape}: {', '.join(parts)}.")


def speed(result: Record, name: str, per: str = "seconds", what: str = "tokens") -> float:
    """Real tokens, or ``what``, a second, in the median round; nan if the contestant failed."""
    if name not in result["contestants"]:
        return math.nan
    rounds = result["contestants"][name]["rounds"]
    return statistics.median(turn[what] / turn[per] for turn in rounds)


def padding(result: Record, name: str) -> str:
    share = 1 - total(result, name, "tokens") / total(result, name, "computed")
    return "–" if math.isnan(share) else f"{share:.0%}"


def total(result: Record, name: str, figure: str) -> float:
    if name not in result["contestants"]:
        return math.nan
    return sum(turn[figure] for turn in result["contestants"][name]["rounds"])
