"""Other projects' checkpoints, written as Hugging Face model directories."""
