"""HTML pages: the report that a run leaves, and the scores of several runs' ids."""
