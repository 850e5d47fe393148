"""Studies: comparisons of several runs in one table, sweeps, and the papers' tables."""
