"""Ground floor: errors, records, recipe, artifacts, files, reporter. Knows no stage and imports no heavy library."""
