"""What is minimised. An objective is a function of a model and a batch; nothing else."""
