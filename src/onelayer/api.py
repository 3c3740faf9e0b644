"""Temporary pointer: the API is `onelayer.finetune(train, dev=, out=, **recipe fields)` in train/finetune.py, `onelayer.load(run).predict([...])` in runtime/load.py."""
