"""llama.cpp's context: forward passes over batches, and the memory of sequences."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import llama_cpp
import numpy as np
import numpy.typing as npt

from hypura.v1 import placement_pb2
from hypura_worker.errors import DecodeFailed, EngineBroken, LoadFailed
from hypura_worker.llama import log
from hypura_worker.llama.weights import type_number

_NO_ROOM, _ABORTED = 1, 2  # llama_decode's positive results
_ALL = -1
_UNPOOLED, _RANK, _UNSPECIFIED = 0, 4, 0xFFFFFFFF  # llama_pooling_type
_FLASH_AUTO, _FLASH_OFF = -1, 0
_ATTENDED_STEP_TOKENS = 256  # llama_kv_cache::get_n_kv


class Pooling(IntEnum):
    """Which of its tokens' vectors becomes the vector of a text (llama_pooling_type)."""

    MEAN = 1
    FIRST = 2
    LAST = 3


class NoRoom(DecodeFailed):
    """The KV cache has no room for the batch."""


@dataclass(frozen=True, slots=True)
class BatchToken:
    """One token of a batch; output: whether its logits (or embedding) are needed."""

    token: int
    position: int
    sequence: int
    output: bool


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Addresses for llama_context_params: cb_eval, abort_callback, and the context argument of both."""

    evaluate: int
    abort: int
    context: int


class PassHook(Protocol):
    """Is called for every node of every pass."""

    @property
    def callbacks(self) -> Callbacks:
        """What the context is created with."""

    def begin(self) -> None:
        """Forget the failure of the last pass."""

    def failure(self) -> Exception | None:
        """Why the last pass failed, if it did."""


class Context:
    """One llama_context. Not thread-safe: only the engine's thread calls it.

    prepare: called with the tokens of each pass before it.
    """

    def __init__(
        self,
        model: int | None,
        plan: placement_pb2.Plan,
        hook: PassHook | None,
        prepare: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = plan.context_tokens
        params.n_batch = params.n_ubatch = plan.ubatch_tokens
        params.n_seq_max = plan.sequences
        # Left alone it reserves logits for a whole batch: 311 MB at 512 tokens of a 152k vocabulary.
        # llama.cpp wants room for one output of every sequence, whatever the ubatch.
        params.n_outputs_max = plan.sequences
        params.n_threads = plan.threads
        params.n_threads_batch = plan.batch_threads
        params.flash_attn_type = _FLASH_OFF if plan.unfused_attention else _FLASH_AUTO
        params.type_k = type_number(plan.kv_type_k)
        params.type_v = type_number(plan.kv_type_v)
        params.op_offload = False
        params.swa_full = False
        params.kv_unified = True
        params.no_perf = True
        # Texts are pooled in embedding.py: llama.cpp's own pooling sees no more than one ubatch, and aborts the process
        # for numbers that it has no name for.
        in_file = _pooling_in_file(model, plan.architecture)
        if in_file not in (None, _UNSPECIFIED):
            params.pooling_type = _UNPOOLED
        if in_file == _RANK:
            raise LoadFailed("this model ranks texts against each other, which hypura does not offer; use another one")
        pooling = next((pooling for pooling in Pooling if pooling.value == in_file), None)
        if pooling is Pooling.MEAN:
            params.n_outputs_max = max(plan.ubatch_tokens, plan.sequences)
        if hook is not None:
            callbacks = hook.callbacks
            params.cb_eval = llama_cpp.ggml_backend_sched_eval_callback(callbacks.evaluate)
            params.cb_eval_user_data = callbacks.context
            params.abort_callback = llama_cpp.ggml_abort_callback(callbacks.abort)
            params.abort_callback_data = callbacks.context
        self._handle: int = _new_context(model, params)
        self.whole: bool = not (
            llama_cpp.llama_get_causal_attn(self._handle) and llama_cpp.llama_get_memory(self._handle)
        )
        """Whether every token attends to later ones too, so that a text must be computed in one pass."""
        if self.whole:  # only the context knows; every token is an output then
            llama_cpp.llama_free(self._handle)
            params.n_outputs_max = max(plan.ubatch_tokens, plan.sequences)
            params.embeddings = True
            self._handle = _new_context(model, params)
        self.compute_bytes = _compute_bytes(model, params)
        """What passes will take of this process's memory beside the KV cache; None: not known."""
        self.pooling = pooling or (Pooling.MEAN if self.whole else Pooling.LAST)
        self._hook = hook
        self._prepare = prepare
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self._batch = llama_cpp.llama_batch_init(plan.ubatch_tokens, 0, 1)
        self.size_tokens: int = llama_cpp.llama_n_ctx(self._handle)
        self.touched_tokens: int = _ATTENDED_STEP_TOKENS if plan.unfused_attention else 0
        """How many empty places of the cache behind the last token a pass may read; fused attention skips them."""
        self.window_tokens: int = llama_cpp.llama_model_n_swa(model)
        self.embedding_length: int = llama_cpp.llama_model_n_embd_out(model)
        diffuses = llama_cpp.llama_model_is_diffusion(model)  # writes all tokens at once, not one after another
        # An encoder-decoder would need its prompt encoded first, which the engine does not do.
        only_decodes = llama_cpp.llama_model_has_decoder(model) and not llama_cpp.llama_model_has_encoder(model)
        self.generates: bool = only_decodes and not self.whole and not diffuses
        self.cuts: bool = not (llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))
        """Whether a sequence's end can be cut off; a recurrent state cannot go back."""

    @property
    def handle(self) -> int:
        """The llama_context pointer."""
        return self._handle

    def decode(self, tokens: Sequence[BatchToken]) -> None:
        """One forward pass.

        Raises NoRoom; ReadFailed or DecodeFailed when the pass failed, its positions then
        being undefined until `roll_back`; EngineBroken when no pass can succeed any more.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token.token
            batch.pos[i] = token.position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = token.sequence
            batch.logits[i] = token.output
        if self._prepare is not None:
            self._prepare([token.token for token in tokens])
        if self._hook is not None:
            self._hook.begin()
        result = llama_cpp.llama_decode(self._handle, batch)
        failure = self._hook.failure() if self._hook is not None else None
        if failure is not None:
            raise failure
        if result == _NO_ROOM:
            raise NoRoom(f"the KV cache of {self.size_tokens} tokens has no room for {len(tokens)} more")
        if result == _ABORTED:
            raise DecodeFailed("the pass was aborted")
        if result != 0:
            raise EngineBroken(f"llama_decode returned {result}: {log.last_errors()}")

    def logits(self, index: int) -> npt.NDArray[np.float32]:
        """[vocabulary] of the batch's token `index`, which must have been an output; valid until the next pass."""
        pointer = llama_cpp.llama_get_logits_ith(self._handle, index)
        if not pointer:
            raise EngineBroken(f"llama.cpp has no logits for token {index} of the batch")
        vocabulary = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(self._handle))
        )
        return np.ctypeslib.as_array(pointer, (vocabulary,))

    def want_embeddings(self, wanted: bool) -> None:
        """Have the next passes compute embeddings besides logits; each of their tokens is an output then."""
        llama_cpp.llama_set_embeddings(self._handle, wanted)

    def embedding(self, index: int) -> npt.NDArray[np.float32]:
        """[embedding_length] of the batch's token `index`; valid until the next pass."""
        pointer = llama_cpp.llama_get_embeddings_ith(self._handle, index)
        if not pointer:
            raise DecodeFailed("llama.cpp gave no embedding for this text")
        return np.ctypeslib.as_array(pointer, (self.embedding_length,))

    def first_position(self, sequence: int) -> int:
        """The first position that the sequence still holds; -1 if it is empty."""
        return int(llama_cpp.llama_memory_seq_pos_min(self._memory, sequence)) if self._memory else -1

    def copy(self, source: int, target: int, length: int) -> None:
        """Let the empty sequence `target` begin with the first `length` tokens of `source`; they share the memory."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def cut(self, sequence: int, length: int) -> bool:
        """Keep the first `length` tokens of the sequence; if that is impossible, empty it and return False."""
        if not self._memory:
            return length == 0
        if length > 0 and llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, _ALL):
            return True
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, _ALL, _ALL)
        return length == 0

    def close(self) -> None:
        """Free the context."""
        if self._handle:
            llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(self._handle)
            self._handle = 0


def _new_context(model: int | None, params: llama_cpp.llama_context_params) -> int:
    """A new llama_context. Raises LoadFailed."""
    log.forget_errors()
    handle = llama_cpp.llama_init_from_model(model, params)
    if not handle:
        raise LoadFailed(f"llama.cpp could not make a context: {log.last_errors()}")
    return int(handle)


def _compute_bytes(model: int | None, params: llama_cpp.llama_context_params) -> int | None:
    """Activations, and the logits of a pass: llama.cpp has room for those of each sequence, and allocates more."""
    activations = log.compute_bytes()
    if activations is None:
        return None
    more = max(0, params.n_outputs_max - params.n_seq_max)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    values: int = more * (vocabulary + llama_cpp.llama_model_n_embd_out(model))
    return activations + values * ctypes.sizeof(ctypes.c_float)


def _pooling_in_file(model: int | None, architecture: str) -> int | None:
    """The pooling type in the model's file (llama_pooling_type), which may be any number; None if it has none."""
    key, value = f"{architecture}.pooling_type".encode(), ctypes.create_string_buffer(16)
    if llama_cpp.llama_model_meta_val_str(model, key, value, len(value)) < 0:
        return None
    return int(value.value)  # llama.cpp refuses a file whose number is not a uint32
