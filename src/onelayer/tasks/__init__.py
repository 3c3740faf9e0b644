"""One file a task: the columns it reads, encode, decode, score. No torch here."""
