"""Settings chosen on validation."""
