"""OpenAI's dialect: chat completions, completions, embeddings, models, responses."""

from hypura_daemon.gateway.openai.handlers import HANDLERS
from hypura_daemon.gateway.openai.response_memory import ResponseMemory
from hypura_daemon.gateway.openai.responses import Responses

ENDPOINTS = (*HANDLERS, *Responses(ResponseMemory()).endpoints())
