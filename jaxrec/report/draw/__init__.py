"""Charts and pages as strings."""
