"""Describes labelled files: contents, repeated texts, probable label errors."""
