"""Answers from trained runs, in process: recommendations, updates, newcomers, the vector store."""
