"""A model over HTTP: routes, batches by tokens, limits, metrics. No torch here."""
