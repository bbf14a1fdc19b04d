"""The context that a request gets: as much as its input and its answer need.

lease ─► input ─► it fits the usual context? ─yes─► that much
                    │ no: count its tokens
                    ├─ what is loaded is enough ─► as much of it as the input needs
                    └─ else ─► lease again, with a larger context: the model is loaded anew
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from hypura.v1 import inference_pb2
from hypura_daemon.errors import ContextTooLong, PromptTooLong
from hypura_daemon.residency.lease import Lease, Use
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.scheduling.context import answer_room, grown, likely_tokens


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


class Input(Protocol):
    """What a model is given, such as a prompt."""

    @property
    def most_tokens(self) -> int:
        """More tokens it cannot have."""

    async def count(self, lease: Lease) -> int:
        """Its tokens, which the worker counts."""


SomeInput = TypeVar("SomeInput", bound=Input)


@asynccontextmanager
async def with_room(
    supervisor: Supervisor,
    default_tokens: int,
    name: str,
    demand: Demand,
    made: Callable[[Lease], Awaitable[SomeInput]],
    size_bytes: int,
) -> AsyncIterator[tuple[Lease, SomeInput, int]]:
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
                usual_tokens = named_tokens or lease.requested_context_tokens or default_tokens
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
