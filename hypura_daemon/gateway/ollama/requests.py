"""Ollama's requests for answers: their fields, and the hypura.v1 requests that they become."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import structlog
from pydantic import BeforeValidator, ConfigDict, Field

from hypura.durations import parse_go_duration
from hypura.v1 import inference_pb2
from hypura_daemon.chat import request as core
from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.gateway.requests import MAX_TOKENS, Probability, known_role, stop_strings
from hypura_daemon.gateway.shapes import RequestShape

FOR_EVER = -1.0
LEVELS = ("low", "medium", "high", "max")
_WITHOUT_EFFECT = frozenset(
    {"num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "num_keep", "draft_num_predict", "low_vram",
     "f16_kv", "use_mlock", "numa", "vocab_only", "logits_all", "mirostat", "mirostat_tau", "mirostat_eta", "tfs_z",
     "penalize_newline"}
)  # fmt: skip
"""hypura's plan decides them, or Ollama no longer has them either."""

_log = structlog.get_logger()


def _whole_number(value: Any) -> Any:
    """Go clients write 40 as 40.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


CountOrAll = Annotated[int, BeforeValidator(_whole_number), Field(ge=-2, le=MAX_TOKENS)]


class Options(RequestShape):
    """The options of Ollama's requests."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    num_ctx: Annotated[int, BeforeValidator(_whole_number)] | None = None
    num_predict: Annotated[int, BeforeValidator(_whole_number), Field(ge=-MAX_TOKENS, le=MAX_TOKENS)] | None = None
    seed: Annotated[int, BeforeValidator(_whole_number)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1e6)] | None = None
    top_k: CountOrAll | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    typical_p: Probability | None = None
    repeat_last_n: CountOrAll | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=1e6)] | None = None
    presence_penalty: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    stop: str | list[str] | None = None


class Named(RequestShape):
    """A request that names one model: as `model`, or as `name` in older clients."""

    model: str = ""
    name: str = ""

    def model_name(self) -> str:
        """The model's name. Raises InvalidRequest where there is none."""
        name = self.model or self.name
        if not name:
            raise InvalidRequest("model is required")
        return name


KeepAlive = int | float | str | None


class AnswerRequest(RequestShape):
    """The fields that generate and chat share."""

    model: str = ""
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: KeepAlive = None
    think: bool | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def streams(self) -> bool:
        """Ollama's routes stream unless `stream` is false."""
        return self.stream is not False


def use_of(keep_alive: KeepAlive, options: Options | None) -> inference_pb2.ModelUse:
    """The context and the keep_alive that the request wants for its model. Raises InvalidRequest."""
    num_ctx = (options.num_ctx or 0) if options is not None else 0
    use = inference_pb2.ModelUse(context_tokens=min(max(0, num_ctx), MAX_TOKENS))
    seconds = keep_alive_seconds(keep_alive)
    if seconds is not None:
        use.keep_alive_seconds = seconds
    return use


def keep_alive_seconds(given: KeepAlive) -> float | None:
    """Seconds of a number, or of a Go duration as text; a negative one is for ever. Raises InvalidRequest."""
    if given is None or isinstance(given, bool):
        return None
    if isinstance(given, str):
        if not given:
            return None
        try:
            given = parse_go_duration(given)
        except ValueError as error:
            raise InvalidRequest(f"keep_alive is {given!r}: {error}; a bare number of seconds has no quotes") from error
    if math.isnan(given):
        raise InvalidRequest("keep_alive is not a number; give seconds, or a duration such as 5m")
    return FOR_EVER if given < 0 else float(given)


def sampling_of(options: Options | None) -> inference_pb2.Sampling:
    """How tokens are chosen; options left out are left to the model and its defaults."""
    sampling = inference_pb2.Sampling()
    if options is None:
        return sampling
    for name in ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty",
                 "frequency_penalty"):  # fmt: skip
        if (value := getattr(options, name)) is not None:
            setattr(sampling, name, value)
    if options.top_k is not None:
        sampling.top_k = max(0, options.top_k)
    if options.repeat_last_n is not None:
        sampling.repeat_last_n = max(-1, options.repeat_last_n)
    if options.seed is not None and options.seed >= 0:
        sampling.seed = options.seed & 0xFFFFFFFF
    unknown = sorted(set(options.model_extra or {}) - _WITHOUT_EFFECT)
    if unknown:
        _log.warning("unknown options are ignored", options=unknown)
    return sampling


def limits_of(body: AnswerRequest) -> inference_pb2.Limits:
    """When the answer ends, and its format. Raises InvalidRequest."""
    options = body.options or Options()
    limits = inference_pb2.Limits(truncate=body.truncate is not False)
    if options.num_predict is not None and options.num_predict >= 0:
        limits.max_tokens = options.num_predict
    limits.stop.extend(stop_strings(options.stop, "options.stop"))
    if body.logprobs:
        limits.top_logprobs = body.top_logprobs or 0
    form = body.format
    if isinstance(form, dict):
        limits.json_schema = json.dumps(form)
    elif form == "json":
        limits.json_schema = "{}"
    elif form:
        raise InvalidRequest(f'format is {form[:40]!r}; give "json" or a JSON schema')
    return limits


def thinking_of(think: bool | str | None) -> tuple[bool | None, str]:
    """Whether to think, and how hard. Raises InvalidRequest."""
    if isinstance(think, str):
        if think not in LEVELS:
            raise InvalidRequest(f"think is {think[:40]!r}; give true, false, {', '.join(LEVELS)}")
        return True, think
    return think, ""


def refuse_images(images: list[str] | None) -> None:
    """Raises InvalidRequest where there are images."""
    if images:
        raise InvalidRequest("images are not supported yet; hypura's models read text only")


# Asked… and Told… are names of components in the published /openapi.json, so they stay.
class AskedFunction(RequestShape):
    """The tool of a call, and its arguments."""

    name: str
    arguments: dict[str, Any] | str | None = None


class AskedToolCall(RequestShape):
    """A tool call that the model made earlier."""

    id: str | None = None
    function: AskedFunction


class AskedMessage(RequestShape):
    """One message of the conversation."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[AskedToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class ChatRequest(AnswerRequest):
    """See Ollama's API."""

    messages: list[AskedMessage] | None = None
    tools: list[dict[str, Any]] | None = None


def chat_request(body: ChatRequest) -> core.ChatRequest:
    """The core's request. Pure; raises InvalidRequest."""
    messages = [_message(message) for message in body.messages or ()]
    return replace(_conversation(body, messages), tools=_functions(body.tools or ()))


def _conversation(body: AnswerRequest, messages: list[core.ChatMessage]) -> core.ChatRequest:
    """The core's request for these messages, with the fields that generate and chat share. Raises InvalidRequest."""
    think, level = thinking_of(body.think)
    return core.ChatRequest(
        model=body.model,
        messages=messages,
        sampling=sampling_of(body.options),
        limits=limits_of(body),
        use=use_of(body.keep_alive, body.options),
        think=think,
        think_level=level,
        think_if_able=True,
    )


def _functions(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools that are functions; others are not offered to the model."""
    functions = [tool for tool in tools if tool.get("type") in (None, "function")]
    if len(functions) < len(tools):
        types = sorted({str(tool["type"])[:40] for tool in tools if tool not in functions})
        _log.warning("tools other than functions are not offered to the model", types=types)
    return functions


def _message(message: AskedMessage) -> core.ChatMessage:
    refuse_images(message.images)
    calls = [
        {"id": call.id or "", "function": {"name": call.function.name, "arguments": call.function.arguments or {}}}
        for call in message.tool_calls or ()
    ]
    return core.ChatMessage(
        role=known_role(message.role),
        content=message.content or "",
        thinking=message.thinking or "",
        tool_calls=calls,
        tool_name=message.tool_name or message.name or "",
        tool_call_id=message.tool_call_id or "",
    )


TokenId = Annotated[int, Field(ge=0, le=(1 << 31) - 1)]


class GenerateRequest(AnswerRequest):
    """See Ollama's API."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[TokenId] | None = None
    raw: bool | None = None
    images: list[str] | None = None


def check_generate(body: GenerateRequest) -> None:
    """Raises InvalidRequest and ModelNotFound for requests that no model could answer."""
    if not body.model:
        raise ModelNotFound("model '' not found", "")
    refuse_images(body.images)
    if body.raw and (body.template or body.system or body.context):
        raise InvalidRequest("raw mode does not support template, system, or context")


def verbatim_request(body: GenerateRequest, *, report_prompt_ids: bool) -> inference_pb2.GenerateRequest:
    """The core's request for the prompt without a template: raw, with a suffix, or for a model that has none. Pure."""
    return inference_pb2.GenerateRequest(
        model=body.model,
        prompt=body.prompt or "",
        suffix=body.suffix or "",
        sampling=sampling_of(body.options),
        limits=limits_of(body),
        use=use_of(body.keep_alive, body.options),
        report_prompt_ids=report_prompt_ids,
        plain_text=not body.raw,
    )


def prompt_as_chat(body: GenerateRequest) -> core.ChatRequest:
    """The core's request for the prompt as a user's message. Pure."""
    system = [core.ChatMessage(role="system", content=body.system)] if body.system else []
    messages = [*system, core.ChatMessage(role="user", content=body.prompt or "")]
    return replace(
        _conversation(body, messages),
        template=body.template or "",
        context=body.context or (),
        report_prompt_ids=True,
    )


class EmbedRequest(RequestShape):
    """See Ollama's API; truncate is true by default."""

    model: str = ""
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    options: Options | None = None
    keep_alive: KeepAlive = None


class EmbeddingsRequest(RequestShape):
    """The older form, for one text."""

    model: str = ""
    prompt: str | None = None
    options: Options | None = None
    keep_alive: KeepAlive = None
