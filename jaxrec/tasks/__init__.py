"""Tasks of the language model: prompt templates, and training examples built from them."""
