"""A model against labelled rows: scores, comparison, report."""
