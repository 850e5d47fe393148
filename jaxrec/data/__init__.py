"""Data: from files or a generated world to interactions, splits, graphs, random walks and packed batches."""
