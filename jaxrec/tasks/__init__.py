"""What the language model is asked: prompt templates, and examples spliced from them."""
