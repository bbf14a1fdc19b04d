"""Ollama's dialect."""

from hypura_daemon.gateway.ollama import chat, embed, generate, listing
from hypura_daemon.gateway.ollama.endpoints_models import ENDPOINTS_MODELS

ENDPOINTS = (generate.ENDPOINT, chat.ENDPOINT, *embed.ENDPOINTS, *listing.ENDPOINTS, *ENDPOINTS_MODELS)
