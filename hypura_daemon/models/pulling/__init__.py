"""Fetching models: from registries that speak Ollama's protocol, and from Hugging Face."""
