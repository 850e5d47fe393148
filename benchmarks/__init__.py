"""Workloads beside their peers; `python -m benchmarks.run` measures them all."""
