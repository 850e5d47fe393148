"""From a trained model to the best k items: constrained beam search and exact scoring."""
