"""Hyperparameter search on the validation items."""
