"""The scheduler: from requests to batches to predictions."""
