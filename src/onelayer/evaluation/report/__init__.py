"""``report.html``: one file that shows how a run learned, how good it is, and where it is wrong."""
