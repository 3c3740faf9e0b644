"""Evaluates models on labelled rows: scores, comparison, report."""
