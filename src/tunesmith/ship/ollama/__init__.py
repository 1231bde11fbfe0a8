"""A Modelfile for Ollama: the model's own chat template as a Go template, end tokens, context, sampling settings."""
