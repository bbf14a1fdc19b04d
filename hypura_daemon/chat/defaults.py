"""A model's Modelfile parameters as defaults for what a request leaves out."""

from collections.abc import Iterable

from hypura.v1 import inference_pb2
from hypura_daemon.models.overrides import parameter_value
from hypura_daemon.residency.lease import Use

_MAX_INTEGER = (1 << 31) - 1
_MIN_CONTEXT_TOKENS = 4
_SAMPLING = frozenset(
    (
        "temperature top_k top_p min_p typical_p repeat_last_n repeat_penalty presence_penalty frequency_penalty seed"
    ).split()
)

Parameters = Iterable[tuple[str, str]]


def sampling_with(requested: inference_pb2.Sampling, parameters: Parameters) -> inference_pb2.Sampling:
    """The requested sampling, with the parameters for what it leaves out."""
    sampling = inference_pb2.Sampling()
    sampling.CopyFrom(requested)
    for name, text in parameters:
        if name in _SAMPLING and not requested.HasField(name):
            value = parameter_value(name, text)
            if name == "seed":
                value = int(value) & 0xFFFFFFFF
            elif name == "top_k":
                value = max(0, int(value))
            setattr(sampling, name, value)
    return sampling


def limits_with(requested: inference_pb2.Limits, parameters: Parameters) -> inference_pb2.Limits:
    """The requested limits, with the parameters for what they leave out."""
    limits = inference_pb2.Limits()
    limits.CopyFrom(requested)
    for name, text in parameters:
        if name == "stop" and not requested.stop:
            limits.stop.append(text)
        elif name == "num_predict" and not requested.HasField("max_tokens"):
            limits.max_tokens = max(-1, min(int(parameter_value(name, text)), _MAX_INTEGER))
    return limits


def use_with(requested: inference_pb2.ModelUse, parameters: Parameters, trained_tokens: int) -> Use:
    """How the model is used. The requested context is at least Ollama's 4 tokens, and at most the trained length."""
    tokens = requested.context_tokens
    for name, text in parameters:
        if name == "num_ctx" and not requested.context_tokens:
            tokens = max(0, int(parameter_value(name, text)))
    if tokens:
        tokens = min(max(tokens, _MIN_CONTEXT_TOKENS), trained_tokens)
    keep_alive = requested.keep_alive_seconds if requested.HasField("keep_alive_seconds") else None
    return Use(keep_alive, tokens, enough_tokens=0)
