"""Several runs as one table."""
