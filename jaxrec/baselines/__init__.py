"""What methods stand beside: counted, trained on pairs, next-item and text baselines, with their models."""
