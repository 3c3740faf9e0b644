"""Files, labels, tokens: everything about text that needs no torch."""
