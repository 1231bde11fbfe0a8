"""The sections of the recipe, one file for each stage; `tunesmith.pipeline.recipe` puts them together. None imports torch."""
