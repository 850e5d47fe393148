"""Readers of event files, one module per format family; the registry lists the formats."""
