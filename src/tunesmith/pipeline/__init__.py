"""From sources to verdict in stages, each of which makes one kind of artifact; what knows both the recipe and the artifacts."""
