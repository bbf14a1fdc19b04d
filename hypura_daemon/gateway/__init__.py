"""The REST gateway: Ollama's, OpenAI's and Anthropic's dialects over HTTP."""
