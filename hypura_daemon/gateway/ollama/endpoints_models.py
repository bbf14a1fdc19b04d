"""The routes that change which models there are, for Ollama's clients."""

from hypura_daemon.gateway.ollama import blobs, copy, create, delete, pull, push

ENDPOINTS_MODELS = (
    create.ENDPOINT,
    copy.ENDPOINT,
    delete.ENDPOINT,
    *blobs.ENDPOINTS,
    pull.ENDPOINT,
    push.ENDPOINT,
)
