"""Copies of runs in trackers of experiments. `mlflow`, `trackio`, `tensorboard` and `wandb` write to one of them each."""
