"""The training loop of all models: state, step, mesh, checkpoints, progress, metrics."""
