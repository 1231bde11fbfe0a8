"""Training methods, one file each: whatever file is here can be named as `objective.kind` (see `tunesmith.train.method`)."""
