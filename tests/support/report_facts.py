"""Contents of reports for two test modules: texts that must not become markup, many classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onelayer.evaluation.report.facts import Confusions, ReportFacts

HOSTILE = [
    "<script>alert(1)</script><img src=http://example.com/x onerror=alert(1)>",
    "turned \u202e around \u2066 and \u0000 nul \x1b[31m",
    "&lt;b&gt; $\\frac{1}{2}$ ' \" `",
    "👩‍👩‍👧 " + "x" * 2_000,
    "good 北京\r\n\u2028 next",
]


def many_classes(facts: ReportFacts, n: int) -> ReportFacts:
    """The facts with ``n`` classes instead, where class 3 is most often taken for class 7."""
    labels = tuple(f"class {i}" for i in range(n))
    counts = np.eye(n, dtype=np.int64) * 5
    counts[3, 7], counts[1, 2] = 9, 1
    table = {name: {"precision": 1.0, "recall": 0.5, "f1": 0.7, "support": 5} for name in labels}
    of = replace(facts.evaluation, confusions=Confusions(labels, counts), by_label=table)
    return replace(facts, evaluation=of)
