"""From a trained model and rows to predictions."""
