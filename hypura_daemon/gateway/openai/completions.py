"""Plain completions, text that continues a prompt: their request, and their answer whole or streamed."""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.answers import FINGERPRINT, Identity, Usage, finite, usage_of
from hypura_daemon.gateway.openai.requests import MAX_ANSWERS, MAX_TOP_LOGPROBS, SamplingFields, StreamOptions, TokenId
from hypura_daemon.gateway.openai.stream import Frame, progress
from hypura_daemon.gateway.requests import MAX_TOKENS, NO_LOGPROBS, token_limit
from hypura_daemon.gateway.shapes import AnswerShape


class CompletionRequest(SamplingFields):
    """See OpenAI's reference of completions; docs/api-openai-anthropic.md lists what hypura supports."""

    model: str
    prompt: str | list[str] | list[TokenId] | list[list[TokenId]] | None = None
    suffix: str | None = None
    max_tokens: Annotated[int, Field(ge=-MAX_TOKENS)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


class Logprobs(AnswerShape):
    """Four lists of equal length; offsets count characters from the text's start."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class Choice(AnswerShape):
    """One answer, or its next text."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Completion(AnswerShape):
    """A whole body, or a piece of a stream; the last piece has no choices but the usage, if requested."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[Choice]
    usage: Usage | None = None


def prompts_of(body: CompletionRequest) -> Sequence[str | list[int]]:
    """The prompts, each of which is answered n times. Raises InvalidRequest."""
    prompt = "" if body.prompt is None else body.prompt
    if isinstance(prompt, str):
        prompts: Sequence[Any] = [prompt]
    elif not prompt:
        raise InvalidRequest("prompt is an empty list; give text, token ids, or a list of either")
    else:
        prompts = [prompt] if isinstance(prompt[0], int) else prompt
    if not isinstance(prompt, str) and not all(prompts):
        raise InvalidRequest("one of the prompts is empty; each must have text or token ids")
    if body.echo and not isinstance(prompts[0], str):
        raise InvalidRequest("echo is supported for prompts of text, but not for token ids")
    if len(prompts) * (body.n or 1) > MAX_ANSWERS:
        raise InvalidRequest(f"{len(prompts)} prompts with {body.n or 1} answers each exceed {MAX_ANSWERS} answers")
    return prompts


def completion_requests(body: CompletionRequest) -> list[inference_pb2.GenerateRequest]:
    """The core's requests, one for each answer, grouped by prompt. Raises InvalidRequest."""
    answers = body.n or 1
    if body.best_of is not None and body.best_of not in (1, answers):
        raise InvalidRequest(f"best_of is {body.best_of}; only 1, or as many as n, is supported")
    limits = inference_pb2.Limits(
        max_tokens=token_limit(body.max_tokens),
        stop=body.stops(),
        top_logprobs=NO_LOGPROBS if body.logprobs is None else body.logprobs,
    )
    return [
        inference_pb2.GenerateRequest(
            model=body.model,
            prompt=prompt if isinstance(prompt, str) else None,
            prompt_ids=None if isinstance(prompt, str) else inference_pb2.TokenIds(ids=prompt),
            suffix=body.suffix or "",
            limits=limits,
            sampling=body.sampling(answer),
            use=body.use(),
        )
        for prompt in prompts_of(body)
        for answer in range(answers)
    ]


def completion(identity: Identity, body: CompletionRequest, answers: Sequence[Answer]) -> Completion:
    """The whole body."""
    prompts = prompts_of(body)
    choices = []
    for index, answer in enumerate(answers):
        echo = _echo(body, prompts[index // (body.n or 1)])
        choices.append(
            Choice(
                index=index,
                text=echo + answer.text,
                logprobs=None if body.logprobs is None else logprobs_of(answer.logprobs, len(echo)),
                finish_reason=_finish(answer.finished),
            )
        )
    return Completion(
        id=identity.id,
        created=identity.created,
        model=identity.model,
        choices=choices,
        usage=usage_of(answers, len(prompts)),
    )


class CompletionStream:
    """Writes a stream's pieces, from the events of all answers."""

    def __init__(self, identity: Identity, body: CompletionRequest) -> None:
        self._frame = Frame(identity, "text_completion", usage=body.usage_wanted)
        self._with_logprobs = body.logprobs is not None
        self._prompts = len(prompts_of(body))
        self._echoes = [_echo(body, prompt) for prompt in prompts_of(body) for _ in range(body.n or 1)]
        self._offsets = [len(echo) for echo in self._echoes]
        self._answers = [Answer() for _ in self._echoes]

    def begin(self) -> bytes:
        """The prompts, if they are echoed."""
        return b"".join(self._piece(index, echo) for index, echo in enumerate(self._echoes) if echo)

    def add(self, index: int, event: inference_pb2.GenerateResponse) -> bytes:
        """The pieces of an event."""
        if event.HasField("prefill"):
            return progress(event.prefill)
        if event.HasField("finished"):
            self._answers[index].add(event)
            return self._piece(index, "", finish=f'"{_finish(event.finished)}"')
        chunk, logprobs = event.chunk, "null"
        if self._with_logprobs:
            new = logprobs_of(chunk.logprobs, self._offsets[index])
            self._offsets[index] += sum(map(len, new.tokens))
            logprobs = new.ascii_json()
        return self._piece(index, chunk.text, logprobs) if chunk.text or chunk.logprobs else b""

    def end(self) -> bytes:
        """The last lines."""
        return self._frame.end(usage_of(self._answers, self._prompts))

    def _piece(self, index: int, text: str, logprobs: str = "null", finish: str = "null") -> bytes:
        return self._frame.choice(index, f'"text":{json.dumps(text)}', logprobs, finish)


def logprobs_of(tokens: Iterable[inference_pb2.TokenLogprobs], offset: int) -> Logprobs:
    """The tokens' log probabilities in the old form; offset: where the first token begins in the text."""
    logprobs = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for token in tokens:
        text = _text(token.chosen)
        logprobs.tokens.append(text)
        logprobs.token_logprobs.append(finite(token.chosen.logprob))
        logprobs.top_logprobs.append({_text(other): finite(other.logprob) for other in token.top})
        logprobs.text_offset.append(offset)
        offset += len(text)
    return logprobs


def _echo(body: CompletionRequest, prompt: str | list[int]) -> str:
    return prompt if body.echo and isinstance(prompt, str) else ""


def _finish(finished: inference_pb2.Finished) -> Literal["stop", "length"]:
    return "length" if finished.reason == inference_pb2.FINISH_REASON_LENGTH else "stop"


def _text(token: inference_pb2.TokenLogprob) -> str:
    return token.token.decode("utf-8", "replace")
