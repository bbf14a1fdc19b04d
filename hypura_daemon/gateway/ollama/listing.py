"""Ollama's routes that list and describe models: tags, ps, show, and version. None of them waits for a load."""

import json
import math
import time
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hypura_daemon.chat.job import adaptations
from hypura_daemon.gateway.endpoint import Core, Endpoint
from hypura_daemon.gateway.http.bodies import parsed
from hypura_daemon.gateway.ollama.requests import Named
from hypura_daemon.models.catalogue import Entry
from hypura_daemon.models.model import Model
from hypura_daemon.models.summaries import ModelSummary
from hypura_daemon.models.wire import shown_model
from hypura_daemon.residency.state import ModelSnapshot, ModelState
from hypura_daemon.scheduling.rules import expiry
from hypura_daemon.system.threads import FILES, TEMPLATES

OLLAMA_VERSION = "0.32.15"
"""The newest release of Ollama whose API for local models is here; tests/daemon/gateway/ollama/test_version.py lists
that API. Clients check for a least version of three numbers: Codex for 0.13.4."""
NEVER = "2318-12-31T00:00:00Z"
"""When a model is unloaded that stays for ever: Go clients need a time."""


class ModelDetails(BaseModel):
    """What kind of model it is."""

    parent_model: str = ""
    format: str = "gguf"
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    context_length: int
    embedding_length: int


class Version(BaseModel):
    """The version of Ollama that clients look for, and hypura's own."""

    version: str
    hypura: str


class Cloud(BaseModel):
    """Whether Ollama's cloud is disabled, and by what."""

    disabled: bool
    source: str


class Status(BaseModel):
    """Which features of Ollama are on."""

    cloud: Cloud


class TagModel(BaseModel):
    """A model that requests can name."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails
    capabilities: list[str]


class Tags(BaseModel):
    """All models."""

    models: list[TagModel]


class RunningModel(BaseModel):
    """A loaded model."""

    name: str
    model: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int
    context_length: int


class Running(BaseModel):
    """All models."""

    models: list[RunningModel]


class ShowRequest(Named):
    """verbose: with the tensors."""

    verbose: bool | None = None


class ShownTensor(BaseModel):
    """One tensor, its fastest dimension first."""

    name: str
    type: str
    shape: list[int]


class ShownMessage(BaseModel):
    """A message that every conversation begins with."""

    role: str
    content: str


class Shown(BaseModel):
    """A model's description."""

    license: str | None = None
    modelfile: str
    parameters: str | None = None
    template: str
    system: str | None = None
    messages: list[ShownMessage] | None = None
    details: ModelDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    adaptations: list[str] | None = None
    tensors: list[ShownTensor] | None = None


async def root(core: Core, request: Request) -> Response:
    """The text by which some clients find Ollama."""
    return PlainTextResponse("Ollama is running")


async def version(core: Core, request: Request) -> Response:
    return JSONResponse({"version": OLLAMA_VERSION, "hypura": metadata.version("hypura")})


async def status(core: Core, request: Request) -> Response:
    """Whether Ollama's cloud may be used: hypura has none."""
    return JSONResponse({"cloud": {"disabled": True, "source": "config"}})


async def tags(core: Core, request: Request) -> Response:
    return await FILES(_tags, core, key="/")


async def ps(core: Core, request: Request) -> Response:
    loaded = [s for s in core.supervisor.status() if s.state in (ModelState.READY, ModelState.UNLOADING)]
    loaded.sort(key=unloads_at_seconds, reverse=True)
    return JSONResponse({"models": await FILES(lambda: [_running(core, s) for s in loaded])})


async def show(core: Core, request: Request) -> Response:
    body = await parsed(request, ShowRequest)
    name, verbose = body.model_name(), bool(body.verbose)
    entry, model = await FILES(_opened, core, name, key=name)
    adapted = await TEMPLATES(adaptations, model, entry.overrides, key=entry.overrides.template or name)
    return await FILES(lambda: JSONResponse(_shown(core, entry, model, adapted, verbose)), key=name)


def _tags(core: Core) -> Response:
    return JSONResponse({"models": [_tag(model) for model in core.registry.list() if not model.error]})


def _tag(summary: ModelSummary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "model": summary.name,
        "modified_at": _time(summary.modified_seconds),
        "size": summary.size_bytes,
        "digest": summary.digest,
        "details": _details(summary),
        "capabilities": list(summary.capabilities),
    }


def _running(core: Core, snapshot: ModelSnapshot) -> dict[str, Any]:
    summary = core.registry.summary(snapshot.name)
    plan, unloads_at = snapshot.plan, unloads_at_seconds(snapshot)
    return {
        "name": snapshot.name,
        "model": snapshot.name,
        "size": snapshot.memory_limit_bytes,
        "digest": summary.digest,
        "details": _details(summary),
        "expires_at": NEVER if unloads_at == math.inf else _time(unloads_at),
        "size_vram": 0,
        "context_length": snapshot.loaded.context_tokens if snapshot.loaded else plan.context_tokens if plan else 0,
    }


def unloads_at_seconds(snapshot: ModelSnapshot) -> float:
    """When the model is unloaded, since the epoch: one in use, as if its last request ended now; infinite for never."""
    if snapshot.state is ModelState.UNLOADING:
        return time.time()
    if snapshot.expires_at_seconds is not None:
        return snapshot.expires_at_seconds
    if not snapshot.running_requests or snapshot.pinned:
        return math.inf
    return expiry(time.time(), snapshot.keep_alive_seconds)


def _opened(core: Core, name: str) -> tuple[Entry, Model]:
    entry = core.registry.get(name)
    return entry, core.registry.model(entry)


def _shown(core: Core, entry: Entry, model: Model, adapted: list[str], verbose: bool) -> dict[str, Any]:
    described, summary = shown_model(model, entry.overrides), core.registry.summary(entry.name)
    shown: dict[str, Any] = {
        "modelfile": described.modelfile,
        "template": described.chat_template,
        "details": _details(summary),
        "model_info": json.loads(described.metadata_json) | {"general.parameter_count": model.parameters},
        "capabilities": list(described.capabilities),
        "modified_at": _time(summary.modified_seconds),
    }
    for key in ("license", "parameters", "system"):
        if text := getattr(described, key):
            shown[key] = text
    if entry.overrides.messages:
        shown["messages"] = [{"role": role, "content": content} for role, content in entry.overrides.messages]
    if adapted:
        shown["adaptations"] = adapted
    if verbose:
        shown["tensors"] = [{"name": t.name, "type": t.type, "shape": list(t.shape)} for t in described.tensors]
    return shown


def _details(summary: ModelSummary) -> dict[str, Any]:
    return ModelDetails(
        parent_model=summary.parent,
        context_length=summary.context_length,
        embedding_length=summary.embedding_length,
        family=summary.architecture,
        families=[summary.architecture],
        parameter_size=_short(summary.parameters),
        quantization_level=summary.quantization,
    ).model_dump()


def _short(parameters: int) -> str:
    """As Ollama writes it: 30.5B, 18.1M."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.1f}{unit}"
    return str(parameters)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(max(0.0, seconds), UTC).isoformat().replace("+00:00", "Z")


ENDPOINTS = (
    Endpoint("GET", "/", root, "Say that a server is here"),
    Endpoint("GET", "/api/version", version, "The version", response=Version),
    Endpoint("GET", "/api/status", status, "Say that there is no cloud", response=Status),
    Endpoint("GET", "/api/tags", tags, "List the models", response=Tags),
    Endpoint("GET", "/api/ps", ps, "List the loaded models", response=Running),
    Endpoint("POST", "/api/show", show, "Describe a model", ShowRequest, Shown, errors=(400, 404)),
)
