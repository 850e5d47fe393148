"""One loop for everything that is trained: state, step, mesh, checkpoints, progress, metrics."""
