"""Top-k recommendation: constrained beam search, exact scoring, vector retrieval, and text generation."""
