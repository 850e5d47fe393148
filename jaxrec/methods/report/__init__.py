"""The report of a run: report.html, one file that a browser shows without anything else."""
