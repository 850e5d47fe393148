"""Serving: recommendations on request, updates with new users, items and events, and the vector store."""
