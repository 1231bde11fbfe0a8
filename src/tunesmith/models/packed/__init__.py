"""Many rows through a model as one: token trees, attention over them, the head only where there is loss."""
