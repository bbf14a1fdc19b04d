"""What the version of /api/version stands for: the routes and fields of that release's API for local models.

Taken from `api/types.go` and `server/routes.go` of Ollama at its tag v0.32.15. Who raises the version goes through what
has come since, and adds it here: as something that is here, or to MISSING with the reason.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from hypura_daemon.gateway.app import ENDPOINTS
from hypura_daemon.gateway.ollama.answers import (
    ChatAnswer,
    EmbedAnswer,
    EmbeddingsAnswer,
    GenerateAnswer,
    Logprob,
    ToldFunction,
    ToldMessage,
    ToldToolCall,
)
from hypura_daemon.gateway.ollama.listing import (
    ModelDetails,
    RunningModel,
    Shown,
    ShownMessage,
    ShownTensor,
    ShowRequest,
    TagModel,
)
from hypura_daemon.gateway.ollama.models import CopyRequest, CreateRequest, Progress, PullRequest
from hypura_daemon.gateway.ollama.requests import (
    _WITHOUT_EFFECT,
    AskedMessage,
    ChatRequest,
    EmbeddingsRequest,
    EmbedRequest,
    GenerateRequest,
    Named,
    Options,
)
from tests.daemon.gateway.scripted import serving

RELEASE = "0.32.15"
ROUTES = """
GET / · GET /api/version · GET /api/status · POST /api/pull · POST /api/push · GET /api/tags · POST /api/show
DELETE /api/delete · POST /api/create · POST /api/blobs/{digest} · HEAD /api/blobs/{digest} · POST /api/copy
GET /api/ps · POST /api/generate · POST /api/chat · POST /api/embed · POST /api/embeddings · POST /v1/chat/completions
POST /v1/completions · POST /v1/embeddings · GET /v1/models · GET /v1/models/{id:path} · POST /v1/responses
POST /v1/messages
""".replace("\n", " · ")
MISSING_ROUTES = {
    "POST /api/me": "an account of Ollama's cloud",
    "POST /api/signout": "an account of Ollama's cloud",
    "DELETE /api/user/keys/{key}": "an account of Ollama's cloud",
    "POST /api/experimental/web_search": "Ollama's cloud searches",
    "POST /api/experimental/web_fetch": "Ollama's cloud fetches",
    "GET /api/experimental/model-recommendations": "what Ollama's cloud recommends",
    "POST /v1/audio/transcriptions": "models that hear",
}
ANSWER = "model stream format keep_alive options think truncate shift logprobs top_logprobs"
METRICS = "total_duration load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration"
FIELDS: list[tuple[type[BaseModel], str]] = [
    (GenerateRequest, f"{ANSWER} prompt suffix system template context raw images"),
    (ChatRequest, f"{ANSWER} messages tools"),
    (AskedMessage, "role content thinking images tool_calls tool_name tool_call_id"),
    (EmbedRequest, "model input keep_alive truncate dimensions options"),
    (EmbeddingsRequest, "model prompt keep_alive options"),
    (CreateRequest, "model stream quantize from files adapters template license system parameters messages name"),
    (Named, "model name"),
    (ShowRequest, "model verbose name"),
    (CopyRequest, "source destination"),
    (GenerateAnswer, f"model created_at response thinking done done_reason context tool_calls logprobs {METRICS}"),
    (ChatAnswer, f"model created_at message done done_reason logprobs {METRICS}"),
    (ToldMessage, "role content thinking tool_calls"),
    (ToldToolCall, "id function"),
    (ToldFunction, "index name arguments"),
    (Logprob, "token logprob bytes top_logprobs"),
    (EmbedAnswer, "model embeddings total_duration load_duration prompt_eval_count"),
    (EmbeddingsAnswer, "embedding"),
    (Progress, "status digest total completed"),
    (TagModel, "name model modified_at size digest details capabilities"),
    (RunningModel, "name model size digest details expires_at size_vram context_length"),
    (ModelDetails, "parent_model format family families parameter_size quantization_level context_length"
                   " embedding_length"),
    (Shown, "license modelfile parameters template system details messages model_info tensors capabilities"
            " modified_at"),
    (ShownMessage, "role content"),
    (ShownTensor, "name type shape"),
]  # fmt: skip
OPTIONS = (
    "num_keep seed num_predict top_k top_p min_p typical_p repeat_last_n temperature repeat_penalty presence_penalty "
    "frequency_penalty stop num_ctx num_batch num_gpu main_gpu use_mmap num_thread draft_num_predict"
)
ANSWERS = (GenerateAnswer, ChatAnswer)
MISSING_FIELDS: list[tuple[tuple[type[BaseModel], ...], str, str]] = [
    ((*ANSWERS, TagModel, Shown, CreateRequest), "remote_model remote_host", "models of Ollama's cloud"),
    ((GenerateRequest, ChatRequest), "_debug_render_only", "for those who work on Ollama"),
    (ANSWERS, "_debug_info", "for those who work on Ollama"),
    ((CreateRequest,), "draft_quantize draft_files", "there are no draft models"),
    ((CreateRequest, Shown), "renderer parser", "Ollama's built-in templates; here the file's own template counts"),
    ((CreateRequest,), "requires info", "of Ollama's own library"),
    ((Shown,), "requires", "of Ollama's own library"),
    ((CreateRequest,), "quantization", "no longer used by Ollama"),
    ((PullRequest,), "username password", "no longer used by Ollama"),
    ((ShowRequest,), "options system template", "only echoed by Ollama"),
    ((Shown,), "projector_info", "there is no vision"),
]


async def test_clients_are_told_that_release_and_it_is_new_enough_for_codex() -> None:
    async with serving() as gateway:
        version = (await gateway.http.get("/api/version")).json()["version"]
    assert version == RELEASE
    assert tuple(map(int, version.split("."))) >= (0, 13, 4), "codex --oss asks for that"


@pytest.mark.parametrize("route", [route for route in ROUTES.split(" · ") if route])
def test_its_routes_are_here(route: str) -> None:
    assert route in [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]


def test_what_is_missing_is_missing() -> None:
    here = [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]
    assert not set(here) & set(MISSING_ROUTES)


@pytest.mark.parametrize(("shapes", "names", "reason"), MISSING_FIELDS)
def test_missing_fields_are_missing(shapes: tuple[type[BaseModel], ...], names: str, reason: str) -> None:
    for shape in shapes:
        here = {field.alias or name for name, field in shape.model_fields.items()}
        assert not here & set(names.split()), f"{shape.__name__} was without them: {reason}"


@pytest.mark.parametrize(("shape", "names"), FIELDS, ids=[shape.__name__ for shape, _ in FIELDS])
def test_its_fields_are_here(shape: type[BaseModel], names: str) -> None:
    here = {field.alias or name for name, field in shape.model_fields.items()}
    assert set(names.split()) <= here


def test_its_options_are_here() -> None:
    known: Any = set(Options.model_fields) | _WITHOUT_EFFECT
    assert set(OPTIONS.split()) <= known
