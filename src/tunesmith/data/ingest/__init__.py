"""From sources to documents: gather what is there, then extract prose (or ready pairs) from each kind of file."""
