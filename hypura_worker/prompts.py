"""Prompts and texts to embed: turned into tokens in threads of their own, checked, and cut to the context."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from hypura.v1 import worker_pb2
from hypura_worker.errors import InvalidRequest, PromptTooLong
from hypura_worker.llama.vocabulary import Vocabulary
from hypura_worker.loaded_model import LlamaModel

LONG_TEXT_CHARACTERS = 1 << 16


class Prompts:
    """Makes tokens of what requests bring."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, "tokenize")
        # With threads in common, a few long texts would hold up every other request.
        self._thread_for_long = ThreadPoolExecutor(1, "tokenize-long")

    async def tokenize(
        self, vocabulary: Vocabulary, text: str, *, add_special: bool = True, plain: Sequence[tuple[int, int]] = ()
    ) -> list[int]:
        """Token ids. plain: spans (start, length in bytes) in which control tokens are plain text."""
        threads = self._thread_for_long if len(text) > LONG_TEXT_CHARACTERS else self._threads
        work = partial(vocabulary.tokenize, text, add_special=add_special, plain=plain)
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    async def to_continue(self, model: LlamaModel, request: worker_pb2.WorkerGenerateRequest) -> list[int]:
        """The tokens of a prompt, at least one, with room for an answer. Raises InvalidRequest."""
        context, vocabulary, limits = model.ready(), model.vocabulary, request.limits
        if not context.generates:
            raise InvalidRequest("this model only embeds; it cannot generate text")
        if request.WhichOneof("input") == "prompt_ids":
            tokens = list(request.prompt_ids.ids)
            vocabulary.check(tokens)
        else:
            tokens = await self.tokenize(vocabulary, request.prompt, plain=plain_spans(request.plain_spans))
        if not tokens:
            tokens = [vocabulary.bos if vocabulary.bos >= 0 else vocabulary.eos]
            vocabulary.check(tokens)
        size = min(context.size_tokens, limits.context_tokens or context.size_tokens)
        room = max(1, min(limits.max_tokens if limits.max_tokens > 0 else size // 4, size // 2))
        return _keep_end(tokens, size - 1, size - room, truncate=limits.truncate)

    async def to_embed(
        self, model: LlamaModel, request: worker_pb2.WorkerEmbedRequest, embed_tokens: int
    ) -> list[list[int]]:
        """The tokens of each text, at least one and at most `embed_tokens`. Raises InvalidRequest."""
        vocabulary = model.vocabulary
        limit = min(embed_tokens, request.context_tokens or embed_tokens)
        texts = [await self.tokenize(vocabulary, text) for text in request.texts]
        last = vocabulary.tokenize("")[-1:]
        for given in request.token_texts:
            texts.append(list(given.ids))
            vocabulary.check(texts[-1])
        bos = max(vocabulary.bos, 0)
        return [keep_beginning(tokens or [bos], limit, last, truncate=request.truncate) for tokens in texts]


def plain_spans(proto_spans: Iterable[worker_pb2.TextSpan]) -> list[tuple[int, int]]:
    """(start, length) of each, in bytes."""
    return [(span.start_bytes, span.length_bytes) for span in proto_spans]


def keep_beginning(tokens: list[int], limit: int, last: list[int], *, truncate: bool) -> list[int]:
    """The text to embed, without its end where it is too long and may be cut; `last` is what ends every text.

    Pooling by the last token uses the token that ends a text, so that stays. Raises PromptTooLong.
    """
    if len(tokens) <= limit:
        return tokens
    if not truncate:
        raise _too_long(tokens, limit)
    kept = [] if tokens[-1:] != last or limit < 2 else last
    return tokens[: limit - len(kept)] + kept


def _keep_end(tokens: list[int], limit: int, cut_to: int, *, truncate: bool) -> list[int]:
    """The prompt; the last `cut_to` tokens of it where there are more than `limit` and it may be cut."""
    if len(tokens) > limit and not truncate:
        raise _too_long(tokens, limit)
    return tokens if len(tokens) <= limit else tokens[-cut_to:]


def _too_long(tokens: list[int], limit: int) -> PromptTooLong:
    return PromptTooLong(
        f"the input length exceeds the context length: the prompt is too long, it has {len(tokens)} tokens, and at "
        f"most {limit} of them fit; shorten it, or ask for a larger context"
    )
