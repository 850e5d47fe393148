"""From files (or a generated world) to interactions, splits, graphs, walks and batches."""
