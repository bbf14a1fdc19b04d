"""Chooses the next token, by llama.cpp's sampler chain."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp import llama_grammar

from hypura_worker.engine.request import Limits, Logprob, Sampling
from hypura_worker.errors import DecodeFailed, RequestError
from hypura_worker.llama.vocabulary import Vocabulary

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_KEEP_ONE = 1

_Link = Any
"""A pointer to a llama_sampler, as llama_cpp hands it out."""


class Sampler:
    """The chain of one request.

    Order, as in llama.cpp: logit bias, penalties, top-k, typical, top-p, min-p,
    temperature. A grammar is asked about the one token the chain chose, and about the whole
    vocabulary only when it refuses that one.
    Raises RequestError for a grammar or schema that does not parse.
    """

    def __init__(self, sampling: Sampling, limits: Limits, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._top_logprobs = limits.top_logprobs
        self._grammar = _grammar(limits, vocabulary)
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for sampler in _links(sampling, limits, vocabulary):
            llama_cpp.llama_sampler_chain_add(self._chain, sampler)
        self._candidates = np.empty(vocabulary.size, _CANDIDATE)

    def see(self, tokens: Sequence[int]) -> None:
        """Count tokens of the prompt for the penalties."""
        for token in tokens:
            llama_cpp.llama_sampler_accept(self._chain, token)

    def choose(self, logits: npt.NDArray[np.float32]) -> tuple[int, Logprob | None]:
        """The next token, given logits [vocabulary], and its logprobs if they were asked for."""
        if not np.isfinite(logits.max()):
            raise DecodeFailed("the model computed no finite logits (NaN or infinity); its file may be damaged")
        token = self._apply(logits, self._chain)
        if self._grammar is not None and not self._allowed(token, logits[token]):
            token = self._apply(logits, self._chain, self._grammar)
        llama_cpp.llama_sampler_accept(self._chain, token)
        if self._grammar is not None:
            llama_cpp.llama_sampler_accept(self._grammar, token)
        return token, self._logprob(logits, token)

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar:
            llama_cpp.llama_sampler_free(self._grammar)
            self._grammar = None

    def _apply(self, logits: npt.NDArray[np.float32], chain: _Link, first: _Link | None = None) -> int:
        candidates = self._candidates
        candidates["id"] = np.arange(len(candidates), dtype=np.int32)
        candidates["logit"] = logits
        candidates["p"] = 0
        array = _token_array(candidates)
        if first is not None:
            llama_cpp.llama_sampler_apply(first, ctypes.byref(array))
            if not np.isfinite(candidates["logit"][: array.size]).any():
                raise DecodeFailed("no token fits the grammar here; check that the grammar can end")
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise DecodeFailed("the samplers left no token to choose; loosen top_p, min_p or the logit bias")
        return int(array.data[array.selected].id)

    def _allowed(self, token: int, logit: np.float32) -> bool:
        single = np.array([(token, logit, 0)], _CANDIDATE)
        array = _token_array(single)
        llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(np.isfinite(single["logit"][0]))

    def _logprob(self, logits: npt.NDArray[np.float32], token: int) -> Logprob | None:
        if self._top_logprobs is None:
            return None
        wide = logits.astype(np.float64)
        highest = wide.max()
        logprobs = wide - (highest + np.log(np.exp(wide - highest).sum()))
        count = self._top_logprobs
        best = np.argpartition(-logprobs, count)[:count] if count else np.empty(0, np.int64)
        best = best[np.argsort(-logprobs[best], kind="stable")]
        return Logprob((token, float(logprobs[token])), tuple((int(i), float(logprobs[i])) for i in best))


def _token_array(candidates: npt.NDArray[np.void]) -> llama_cpp.llama_token_data_array:
    data = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
    return llama_cpp.llama_token_data_array(data, len(candidates), -1, False)


def _links(sampling: Sampling, limits: Limits, vocabulary: Vocabulary) -> list[_Link]:
    bias = dict(sampling.logit_bias)
    vocabulary.check(list(bias))
    if limits.ignore_eos:
        bias |= dict.fromkeys(vocabulary.end_tokens, -np.inf)
    links = []
    if bias:
        entries = (llama_cpp.llama_logit_bias * len(bias))(*(llama_cpp.llama_logit_bias(t, b) for t, b in bias.items()))
        links.append(llama_cpp.llama_sampler_init_logit_bias(vocabulary.size, len(bias), entries))
    penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    if penalties != (1, 0, 0) and sampling.repeat_last_n != 0:
        links.append(llama_cpp.llama_sampler_init_penalties(sampling.repeat_last_n, *penalties))
    if sampling.temperature == 0:
        return [*links, llama_cpp.llama_sampler_init_greedy()]
    links.append(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1:
        links.append(llama_cpp.llama_sampler_init_typical(sampling.typical_p, _KEEP_ONE))
    if sampling.top_p < 1:
        links.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, _KEEP_ONE))
    if sampling.min_p > 0:
        links.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, _KEEP_ONE))
    links.append(llama_cpp.llama_sampler_init_temp(sampling.temperature))
    links.append(llama_cpp.llama_sampler_init_dist(sampling.seed))
    return links


def _grammar(limits: Limits, vocabulary: Vocabulary) -> _Link | None:
    text = limits.grammar or (_schema_grammar(limits.json_schema) if limits.json_schema else "")
    if not text:
        return None
    sampler = llama_cpp.llama_sampler_init_grammar(vocabulary.handle, text.encode(), b"root")
    if not sampler:
        raise RequestError("the grammar does not parse as GBNF with a rule named root")
    return sampler


def _schema_grammar(schema: str) -> str:
    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise RequestError(f"the JSON schema is no JSON: {error}") from error
    if parsed == {}:
        return llama_grammar.JSON_GBNF
    try:
        return str(llama_grammar.json_schema_to_gbnf(schema))
    except Exception as error:  # the converter raises whatever it stumbles over
        raise RequestError(f"the JSON schema cannot be turned into a grammar: {error}") from error
