"""From vectors to ids, and from ids to tokens of a language model."""
