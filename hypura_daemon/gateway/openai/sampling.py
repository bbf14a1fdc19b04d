"""How OpenAI's requests say how tokens are chosen and when to stop."""

import math
from typing import Annotated

from pydantic import AfterValidator, Field

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked

MAX_TOP_LOGPROBS = 20
MAX_ANSWERS = 128
MAX_STOPS = 64
MOST_TOKENS = (1 << 31) - 1
_SEEDS = 1 << 32


def _not_zero(limit: int) -> int:
    if limit == 0:
        raise ValueError("give at least 1, or -1 for no limit")
    return limit


Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenLimit = Annotated[int, Field(ge=-MOST_TOKENS, json_schema_extra={"not": {"const": 0}}), AfterValidator(_not_zero)]
"""Negative is no limit, as in Ollama and llama-server."""
TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]
Stops = str | list[str]


class ContextOptions(Asked):
    """What of Ollama's options counts here."""

    num_ctx: int | None = None


class SamplingFields(Asked):
    """The fields that chat and plain completions share; top_k, min_p, repeat_penalty, num_ctx and options are not
    OpenAI's own.
    """

    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    min_p: Share | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    stop: Stops | None = None
    n: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] | None = None
    num_ctx: int | None = None
    options: ContextOptions | None = None

    def use(self) -> inference_pb2.ModelUse:
        """The context that the request names, in the way of Ollama's native routes."""
        named = self.options.num_ctx if self.options and self.options.num_ctx else self.num_ctx
        return inference_pb2.ModelUse(context_tokens=min(max(0, named or 0), MOST_TOKENS))

    def sampling(self, answer: int = 0) -> inference_pb2.Sampling:
        """For the answer of this index: each has a seed of its own. Raises InvalidRequest."""
        return inference_pb2.Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=None if self.seed is None else (self.seed + answer) % _SEEDS,
            logit_bias=_biases(self.logit_bias or {}),
        )

    def stops(self) -> list[str]:
        """The strings that end an answer. Raises InvalidRequest."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(given) > MAX_STOPS:
            raise InvalidRequest(f"stop has {len(given)} strings; at most {MAX_STOPS} are allowed")
        return [text for text in given if text]


def token_limit(*given: int | None) -> int | None:
    """The first limit that was given, as the protos hold it; None for no limit."""
    said = next((limit for limit in given if limit is not None), None)
    return None if said is None or said < 0 else min(said, MOST_TOKENS)


def finite(logprob: float) -> float:
    """JSON has no infinity; OpenAI says -9999 for what cannot happen."""
    return max(logprob, -9999.0) if math.isfinite(logprob) else -9999.0


def _biases(given: dict[str, float]) -> dict[int, float]:
    biases = {}
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) < 1 << 32):
            raise InvalidRequest(f"logit_bias has the key {key[:40]!r}, which is no token id; give ids of the model")
        biases[int(key)] = bias
    return biases
