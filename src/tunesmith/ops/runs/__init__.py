"""The runs of a project as a table, from their artifacts alone."""
