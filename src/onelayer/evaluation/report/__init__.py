"""``report.html``: one file with a model's training curves, scores and worst mistakes."""
