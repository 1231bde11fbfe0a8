"""References to models: each becomes a version in the registry, those of one base share one engine."""
