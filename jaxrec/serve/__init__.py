"""Recommendations on request, newcomers, and the vector store behind them."""
