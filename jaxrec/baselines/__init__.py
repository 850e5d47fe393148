"""Baselines: counting, trained on user-item pairs, next-item models, and baselines for ratings and texts."""
