"""The training run: one visible loop, an objective, a batch layout, checkpoints that survive a kill."""
