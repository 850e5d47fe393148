"""Pure models: arrays in, arrays out; no files, no loops, no random state."""
