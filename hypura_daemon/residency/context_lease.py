"""Leases a model with as much context as a request's input and answer need.

lease ─► input ─► fits the usual context? ─yes─► the usual context
                    │ no: count its tokens
                    ├─ the loaded context is enough ─► as much of it as the input needs
                    └─ otherwise ─► lease again with a larger context: the model is reloaded
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from hypura_daemon.errors import ContextTooLong, PromptTooLong
from hypura_daemon.residency.lease import Lease, Use
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.scheduling.context import answer_room, grown_context, likely_tokens


@dataclass(frozen=True, slots=True)
class ContextNeed:
    """What decides how much context a request needs.

    max_tokens: of the answer; negative where the request does not say, None where there is no answer. truncate: its
    input may be cut.
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
        """The tokens that are reserved for the answer."""
        return 0 if self.max_tokens is None else answer_room(self.max_tokens, usual_tokens)

    def check(self, tokens: int, context_tokens: int) -> None:
        """Raises PromptTooLong for an input that does not fit and may not be cut."""
        if not self.truncate and tokens + self.least_room > context_tokens:
            raise too_long(tokens, context_tokens)


class Input(Protocol):
    """What a model is given: its number of tokens decides the context."""

    @property
    def most_tokens(self) -> int:
        """The most tokens that it can have, which is known before it is tokenized."""

    async def count(self, lease: Lease) -> int:
        """Its number of tokens."""


AnyInput = TypeVar("AnyInput", bound=Input)


@asynccontextmanager
async def lease_with_context(
    supervisor: Supervisor,
    default_tokens: int,
    name: str,
    need: ContextNeed,
    make_input: Callable[[Lease], Awaitable[AnyInput]],
    size_bytes: int,
) -> AsyncIterator[tuple[Lease, AnyInput, int]]:
    """A lease on the model with a context that the input fits into, the input, and how much context it may use.

    A request that names its context gets that. Any other gets what the model is loaded with by its load's own
    options, or by the settings, and more if its input needs it: the model is then reloaded. What it gets does not
    depend on what earlier requests needed. default_tokens: the settings' context. size_bytes: about how long the
    input is, before there is a tokenizer to count its tokens. Raises PromptTooLong, and what loading raises.
    """
    use, trained_tokens = need.use, need.trained_tokens
    named_tokens, tokens = use.context_tokens, 0
    likely = likely_tokens(size_bytes)
    if not named_tokens and likely + need.room(default_tokens) > default_tokens:
        # Otherwise a large request would load a model twice that is not loaded yet.
        likely = grown_context(likely + need.room(default_tokens), trained_tokens)
        use = replace(use, likely_tokens=likely)
    while True:
        try:
            async with supervisor.lease(name, use=use) as lease:
                model_input = await make_input(lease)
                loaded_tokens = lease.loaded.context_tokens
                usual_tokens = named_tokens or lease.requested_context_tokens or default_tokens
                usual_tokens = min(usual_tokens, trained_tokens)
                room = need.room(usual_tokens)
                if model_input.most_tokens + room <= usual_tokens:
                    yield lease, model_input, min(usual_tokens, loaded_tokens)
                    return
                counted_before, tokens = bool(tokens), await model_input.count(lease)
                wanted_tokens = min(tokens + room, trained_tokens)
                if named_tokens or wanted_tokens <= loaded_tokens or counted_before:
                    context_tokens = usual_tokens
                    if not named_tokens:
                        context_tokens = max(usual_tokens, grown_context(tokens + room, trained_tokens))
                    context_tokens = min(context_tokens, loaded_tokens)
                    need.check(tokens, context_tokens)
                    yield lease, model_input, context_tokens
                    return
        except ContextTooLong as error:
            if not tokens or not error.largest_tokens:
                raise
            raise too_long(tokens, error.largest_tokens) from error
        need.check(tokens, trained_tokens)
        enough_tokens = 0 if need.truncate else tokens + need.least_room
        use = replace(
            use,
            context_tokens=wanted_tokens,
            enough_tokens=enough_tokens,
            likely_tokens=grown_context(wanted_tokens, trained_tokens),
        )


def too_long(tokens: int, context_tokens: int) -> PromptTooLong:
    return PromptTooLong(
        f"the input length exceeds the context length: the prompt is too long, it has {tokens} tokens, and the "
        f"context of this model has {context_tokens} here; shorten it",
        tokens,
        context_tokens,
    )
