"""From events to one vector per user and item."""
