"""Ranking metrics, baselines of the same split, and the tables that report them."""
