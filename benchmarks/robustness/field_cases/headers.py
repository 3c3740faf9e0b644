"""Files whose first line is a header that no list of names knows."""

from __future__ import annotations

from benchmarks.robustness.field_cases.case import Case, reads

CASES = (Case("h01_status.csv", "header read, 80 rows", reads(rows=80)),)
