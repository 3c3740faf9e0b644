"""A question is answered from a passage."""
