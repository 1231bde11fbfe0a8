"""Ground floor: errors, records, settings, artifacts, files, reporter. Knows no stage and imports no heavy library."""
