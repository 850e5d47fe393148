"""A server over HTTP: recommendations, new events, text answers, search, metrics, and a page to try them in."""
