"""Local pages: rendered on this machine, served to this machine, readable without JavaScript."""
