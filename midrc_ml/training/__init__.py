"""The training loop, its losses, checkpoints and seeds, and prediction."""
