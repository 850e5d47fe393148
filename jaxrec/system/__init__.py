"""Where parts meet: the stages of a run, the trained system, its measurements."""
