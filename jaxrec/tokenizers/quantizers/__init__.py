"""Quantizers: from vectors to codes."""
