"""Models of the trained baselines."""
