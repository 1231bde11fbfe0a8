"""Optimisers: each file here is one, and its name is what `train.optimizer` names."""
