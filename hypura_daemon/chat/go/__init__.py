"""Templates of Go's text/template language, in which Ollama's models have their prompts."""
