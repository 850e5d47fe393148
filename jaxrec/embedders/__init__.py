"""Embedders: one vector per user and item, learned from events."""
