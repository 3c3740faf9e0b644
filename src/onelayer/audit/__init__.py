"""Which labels of a file are probably wrong."""
