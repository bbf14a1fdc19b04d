"""The context that a request gets: as much as its input and its answer need.

lease ─► input ─► it fits the usual context? ─yes─► that much
                    │ no: count its tokens
                    ├─ what is loaded is enough ─► as much of it as the input needs
                    └─ else ─► lease again, with a larger context: the model is loaded anew
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.prompts.control_texts import Prompt
from hypura_daemon.errors import ContextTooLong, PromptTooLong
from hypura_daemon.residency.lease import Lease, Use
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.scheduling.context import answer_room, grown, likely_tokens

_ADDED_TOKENS = 4
"""Begin and end of a sequence, and the blank that some tokenizers put before a text."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks of the context: how it holds the model, what that was trained for, how long the answer may
    become (negative: it does not say; None: there is none), and whether its input may be cut.
    """

    use: Use
    trained_tokens: int
    max_tokens: int | None
    truncate: bool

    @property
    def least_room(self) -> int:
        """The tokens beside the input without which there is no answer."""
        return 0 if self.max_tokens is None else 1

    def room(self, usual_tokens: int) -> int:
        """The tokens that are kept for the answer."""
        return 0 if self.max_tokens is None else answer_room(self.max_tokens, usual_tokens)

    def check(self, tokens: int, context_tokens: int) -> None:
        """Raises PromptTooLong for an input that does not fit and may not be cut."""
        if not self.truncate and tokens + self.least_room > context_tokens:
            raise too_long(tokens, context_tokens)


@dataclass(frozen=True, slots=True)
class PromptInput:
    """What is given to the model: token ids, then a prompt of text."""

    prompt: Prompt
    ids: tuple[int, ...] = ()

    @property
    def most_tokens(self) -> int:
        """Its tokens at most: each is a byte at least, but for those that the tokenizer adds."""
        return len(self.ids) + len(self.prompt.text.encode()) + _ADDED_TOKENS

    async def count(self, lease: Lease) -> int:
        """Its tokens."""
        if self.ids and not self.prompt.text:
            return len(self.ids)
        return len(self.ids) + len(await token_ids(lease, self.prompt, add_special=not self.ids))

    def tell(self, asked: worker_pb2.WorkerGenerateRequest) -> None:
        """Put ids or text, of which there is one, into what the worker is asked."""
        if self.ids:
            asked.prompt_ids.CopyFrom(inference_pb2.TokenIds(ids=self.ids))
        else:
            asked.prompt = self.prompt.text
            asked.plain_spans.extend(self.prompt.spans)


class EmbedInput:
    """Texts that are embedded, each by itself: what counts is the longest."""

    def __init__(self, request: inference_pb2.EmbedRequest) -> None:
        self._texts = request.texts
        self._longest_ids = max((len(given.ids) for given in request.token_texts), default=0)
        self.longest_bytes = max((len(text.encode()) for text in request.texts), default=0)
        self.most_tokens = max(self._longest_ids, self.longest_bytes + _ADDED_TOKENS)

    async def count(self, lease: Lease) -> int:
        """The longest one's tokens."""
        longest = self._longest_ids
        for text in self._texts:
            if len(text.encode()) + _ADDED_TOKENS > longest:
                longest = max(longest, len(await token_ids(lease, Prompt(text), add_special=True)))
        return longest


Input = TypeVar("Input", PromptInput, EmbedInput)


@asynccontextmanager
async def with_room(
    supervisor: Supervisor,
    default_tokens: int,
    name: str,
    demand: Demand,
    made: Callable[[Lease], Awaitable[Input]],
    size_bytes: int,
) -> AsyncIterator[tuple[Lease, Input, int]]:
    """The model with a context that what `made` gives fits into, that input, and how much context it may use.

    A request that names its context has that. Any other has what the model is loaded with by its load's own
    options, or by the settings, and more if its input needs it: the model is then loaded anew. What it gets is
    the same whatever earlier requests needed. default_tokens: the settings' context. size_bytes: about how long the
    input is, before there is a tokenizer to ask. Raises PromptTooLong, and what loading raises.
    """
    use, trained_tokens = demand.use, demand.trained_tokens
    named_tokens, tokens = use.context_tokens, 0
    likely = likely_tokens(size_bytes)
    if not named_tokens and likely + demand.room(default_tokens) > default_tokens:
        # Else a large request would load the model twice where it is not loaded yet.
        likely = grown(likely + demand.room(default_tokens), trained_tokens)
        use = replace(use, likely_tokens=likely)
    while True:
        try:
            async with supervisor.lease(name, use=use) as lease:
                given = await made(lease)
                loaded_tokens = lease.loaded.context_tokens
                usual_tokens = named_tokens or lease.asked_context_tokens or default_tokens
                usual_tokens = min(usual_tokens, trained_tokens)
                room = demand.room(usual_tokens)
                if given.most_tokens + room <= usual_tokens:
                    yield lease, given, min(usual_tokens, loaded_tokens)
                    return
                asked_before, tokens = bool(tokens), await given.count(lease)
                wanted_tokens = min(tokens + room, trained_tokens)
                if named_tokens or wanted_tokens <= loaded_tokens or asked_before:
                    context_tokens = usual_tokens
                    if not named_tokens:
                        context_tokens = max(usual_tokens, grown(tokens + room, trained_tokens))
                    context_tokens = min(context_tokens, loaded_tokens)
                    demand.check(tokens, context_tokens)
                    yield lease, given, context_tokens
                    return
        except ContextTooLong as error:
            if not tokens or not error.largest_tokens:
                raise
            raise too_long(tokens, error.largest_tokens) from error
        demand.check(tokens, trained_tokens)
        enough_tokens = 0 if demand.truncate else tokens + demand.least_room
        use = replace(
            use,
            context_tokens=wanted_tokens,
            enough_tokens=enough_tokens,
            likely_tokens=grown(wanted_tokens, trained_tokens),
        )


def max_tokens_of(limits: inference_pb2.Limits) -> int:
    return limits.max_tokens if limits.HasField("max_tokens") else -1


def too_long(tokens: int, context_tokens: int) -> PromptTooLong:
    return PromptTooLong(
        f"the input length exceeds the context length: the prompt is too long, it has {tokens} tokens, and the "
        f"context of this model has {context_tokens} here; shorten it",
        tokens,
        context_tokens,
    )


async def token_ids(lease: Lease, prompt: Prompt, *, add_special: bool) -> Sequence[int]:
    asked = worker_pb2.WorkerTokenizeRequest(text=prompt.text, add_special=add_special, plain_spans=prompt.spans)
    return (await lease.worker.tokenize(asked)).token_ids
