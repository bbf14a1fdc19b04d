"""Asks llama.cpp what a grammar admits: whole texts, and random walks through it."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

from tests.models.tokenizer import make_vocabulary

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_TOKENS = 512


class Refused(Exception):
    """llama.cpp does not take the grammar."""


class GrammarCheck:
    """A vocabulary whose first 256 tokens are the bytes, and llama.cpp's grammar sampler over it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "vocabulary.gguf"
        vocabulary = make_vocabulary(_TOKENS)
        writer = gguf.GGUFWriter(path, "llama")
        for key, value in {
            "context_length": 64,
            "embedding_length": 8,
            "block_count": 1,
            "feed_forward_length": 8,
        }.items():
            writer.add_uint32(f"llama.{key}", value)
        writer.add_uint32("llama.attention.head_count", 1)
        writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(vocabulary.tokens)
        writer.add_token_types(vocabulary.types)
        writer.add_token_merges(vocabulary.merges)
        writer.add_eos_token_id(vocabulary.end_of_turn)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._tokens = vocabulary.tokens
        self._end = vocabulary.end_of_turn
        self._ids = np.array([*range(256), self._end], np.int32)

    def close(self) -> None:
        llama_cpp.llama_model_free(self._model)

    def accepts(self, grammar: str, text: str, root: str = "root") -> bool:
        """Whether the text is one that the grammar makes."""
        sampler = self._sampler(grammar, root)
        try:
            for byte in text.encode():
                if byte not in self._allowed(sampler, np.array([byte], np.int32)):
                    return False
                llama_cpp.llama_sampler_accept(sampler, byte)
            return self._end in self._allowed(sampler, np.array([self._end], np.int32))
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def walk(self, grammar: str, seed: int, longest: int = 400) -> str | None:
        """A text that the grammar makes, taken at random; None if it would be too long."""
        sampler, chance, text = self._sampler(grammar), random.Random(seed), bytearray()
        try:
            while len(text) < longest:
                allowed = self._allowed(sampler, self._ids)
                if self._end in allowed and (len(allowed) == 1 or chance.random() < 0.7):
                    return text.decode()
                allowed.discard(self._end)
                closing = [byte for byte in b'"}]' if byte in allowed]
                plain = [byte for byte in allowed if 32 <= byte < 127] or sorted(allowed)
                byte = chance.choice(closing if closing and chance.random() < 0.4 else plain)
                llama_cpp.llama_sampler_accept(sampler, byte)
                text.append(byte)
            return None
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def allows_token(self, grammar: str, token: str) -> bool:
        """Whether the grammar may begin with this token."""
        sampler, number = self._sampler(grammar), self._tokens.index(token)
        try:
            return number in self._allowed(sampler, np.array([number], np.int32))
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def _sampler(self, grammar: str, root: str = "root") -> int:
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, grammar.encode(), root.encode())
        if not sampler:
            raise Refused(grammar)
        return sampler

    def _allowed(self, sampler: int, ids: np.ndarray) -> set[int]:
        candidates = np.zeros(len(ids), _CANDIDATE)
        candidates["id"] = ids
        data = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(data, len(ids), -1, False)
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        return {int(one["id"]) for one in candidates if np.isfinite(one["logit"])}
