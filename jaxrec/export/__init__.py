"""Trained systems for those who have transformers and not jaxrec."""
