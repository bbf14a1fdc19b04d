"""Fetching models: from registries with Ollama's protocol, and from Hugging Face."""
