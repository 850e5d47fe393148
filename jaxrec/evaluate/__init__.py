"""Evaluation: ranking and text metrics, id scores, confidence intervals, results files and tables."""
