"""Training: one loop, its feeds, its device and its checkpoints."""
