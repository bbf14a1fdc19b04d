"""Chooses the next token with llama.cpp's sampler chain."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from hypura_worker.constraining.matcher import Matcher
from hypura_worker.engine.events import Logprob
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.errors import DecodeFailed
from hypura_worker.llama.vocabulary import Vocabulary

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_KEEP_ONE = 1
_NO_PENALTIES = (1.0, 0.0, 0.0)

_Link = Any
"""A pointer to a llama_sampler, as llama_cpp hands it out."""


class Sampler:
    """The chain of one request.

    Order, as in llama.cpp: logit bias, penalties, top-k, typical, top-p, min-p,
    temperature. A matcher first removes the tokens that the format does not allow; where the
    format ends, the answer ends, whatever ignore_eos is.
    """

    def __init__(
        self,
        sampling: Sampling,
        limits: Limits,
        vocabulary: Vocabulary,
        context_tokens: int,
        matcher: Matcher | None = None,
    ) -> None:
        self._top_logprobs = limits.top_logprobs
        self._chain: _Link = None
        self._matcher = matcher
        self.stops_at_end = not limits.ignore_eos or matcher is not None
        bias = dict(sampling.logit_bias)
        try:
            vocabulary.check(list(bias))
            if not self.stops_at_end:
                bias |= dict.fromkeys(vocabulary.end_tokens, -np.inf)
            window = context_tokens if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context_tokens)
            penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
            self._remembers = penalties != _NO_PENALTIES and window > 0
            self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
            if bias:
                llama_cpp.llama_sampler_chain_add(self._chain, _bias(bias, vocabulary.size))
            if self._remembers:
                link = llama_cpp.llama_sampler_init_penalties(vocabulary.size, window, *penalties)
                llama_cpp.llama_sampler_chain_add(self._chain, link)
            for link in _choosers(sampling):
                llama_cpp.llama_sampler_chain_add(self._chain, link)
        except BaseException:
            self.close()
            raise
        self._window = window
        self._candidates = np.empty(vocabulary.size, _CANDIDATE)
        self._ids = np.arange(vocabulary.size, dtype=np.int32)

    def see(self, tokens: Sequence[int]) -> None:
        """Count tokens of the prompt for the penalties."""
        if self._remembers:
            for token in tokens[-self._window :]:
                llama_cpp.llama_sampler_accept(self._chain, token)

    def choose(self, logits: npt.NDArray[np.float32]) -> tuple[int, Logprob | None]:
        """The next token, given logits [vocabulary], and its logprobs if they were requested.

        Raises DecodeFailed when no token can be chosen, ConstraintFailed when the format cannot be followed.
        """
        if not np.isfinite(logits.max()):
            raise DecodeFailed("the model computed no finite logits (NaN or infinity); its file may be damaged")
        token = self._apply(logits)
        if token is None:
            raise DecodeFailed("no token is left to choose; loosen the format, top_p, min_p or the logit bias")
        self.accept(token)
        return token, self._logprob(logits, token)

    def forced(self) -> list[int]:
        """The tokens that the format leaves no choice about; none where logprobs were requested."""
        if self._matcher is None or self._top_logprobs is not None or self._matcher.is_over:
            return []
        return self._matcher.forced()

    def accept(self, token: int) -> None:
        """Advance past a token."""
        llama_cpp.llama_sampler_accept(self._chain, token)
        if self._matcher is not None:
            self._matcher.accept(token)

    @property
    def is_over(self) -> bool:
        """Whether the format lets nothing follow."""
        return self._matcher is not None and self._matcher.is_over

    def close(self) -> None:
        """Free the chain and the matcher."""
        if self._chain:
            llama_cpp.llama_sampler_free(self._chain)
        self._chain = self._matcher = None

    def _apply(self, logits: npt.NDArray[np.float32]) -> int | None:
        """The token that the chain chooses among those that may come next; None if none is left."""
        candidates = self._candidates
        if self._matcher is None:
            candidates["id"] = self._ids
            candidates["logit"] = logits
        else:
            allowed = self._matcher.allowed()
            allowed = allowed[allowed < len(logits)]
            candidates = candidates[: len(allowed)]
            candidates["id"] = allowed
            candidates["logit"] = logits[allowed]
        candidates["p"] = 0
        if not len(candidates):
            return None
        array = _token_array(candidates)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            return None
        chosen = array.data[array.selected]
        return int(chosen.id) if np.isfinite(chosen.logit) else None

    def _logprob(self, logits: npt.NDArray[np.float32], token: int) -> Logprob | None:
        if self._top_logprobs is None:
            return None
        wide = logits.astype(np.float64)
        highest = wide.max()
        logprobs = wide - (highest + np.log(np.exp(wide - highest).sum()))
        best = np.argsort(-logprobs, kind="stable")[: self._top_logprobs]
        return Logprob((token, float(logprobs[token])), tuple((int(i), float(logprobs[i])) for i in best))


def _token_array(candidates: npt.NDArray[np.void]) -> llama_cpp.llama_token_data_array:
    data = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
    return llama_cpp.llama_token_data_array(data, len(candidates), -1, False)


def _bias(bias: dict[int, float], vocabulary_tokens: int) -> _Link:
    entries = (llama_cpp.llama_logit_bias * len(bias))(*(llama_cpp.llama_logit_bias(t, b) for t, b in bias.items()))
    return llama_cpp.llama_sampler_init_logit_bias(vocabulary_tokens, len(bias), entries)


def _choosers(sampling: Sampling) -> list[_Link]:
    """The links of the chain that narrow the candidates down to one."""
    if sampling.temperature == 0:
        return [llama_cpp.llama_sampler_init_greedy()]
    links = [llama_cpp.llama_sampler_init_top_k(sampling.top_k)]
    if sampling.typical_p < 1:
        links.append(llama_cpp.llama_sampler_init_typical(sampling.typical_p, _KEEP_ONE))
    if sampling.top_p < 1:
        links.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, _KEEP_ONE))
    if sampling.min_p > 0:
        links.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, _KEEP_ONE))
    links.append(llama_cpp.llama_sampler_init_temp(sampling.temperature))
    links.append(llama_cpp.llama_sampler_init_dist(sampling.seed))
    return links
