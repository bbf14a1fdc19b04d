"""What several native answers have in common."""

from typing import Any

from pydantic import BaseModel


class AnswerEnd(BaseModel):
    """Times are in nanoseconds; all but the first three are told with the last line alone."""

    model: str
    created_at: str
    done: bool
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class ToldFunction(BaseModel):
    """A call's tool and arguments."""

    index: int
    name: str
    arguments: dict[str, Any]


class ToldToolCall(BaseModel):
    """A call that the model makes."""

    id: str
    function: ToldFunction


class TokenLogprob(BaseModel):
    """A token's likelihood."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(TokenLogprob):
    """The same with its alternatives."""

    top_logprobs: list[TokenLogprob] | None = None


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
