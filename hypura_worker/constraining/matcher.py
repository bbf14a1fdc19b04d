"""Follows an answer through its grammar: which tokens may come next, and which must."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import llama_cpp
import numpy as np
import numpy.typing as npt
import structlog
from llguidance import LLMatcher, LLTokenizer

from hypura_worker.constraining.limits import PARSER_LIMITS, without_forcing
from hypura_worker.errors import ConstraintFailed, InvalidRequest
from hypura_worker.llama.vocabulary import Vocabulary

_SPECIAL = b"\xff"
_T = TypeVar("_T")


class Matcher:
    """The position of one answer in its grammar. Raises ConstraintFailed where following it exceeds the limits."""

    def __init__(self, matcher: LLMatcher, vocabulary_tokens: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((vocabulary_tokens + 31) // 32, np.uint32)
        self._tokens = vocabulary_tokens

    @property
    def is_over(self) -> bool:
        """Whether nothing more can follow."""
        return self._checked(self._matcher.is_stopped)

    def allowed(self) -> npt.NDArray[np.int32]:
        """The tokens that may come next; end tokens among them where the answer may end."""
        mask = self._mask
        self._checked(lambda: self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes))
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little", count=self._tokens)
        return np.flatnonzero(bits).astype(np.int32)

    def accept(self, token: int) -> None:
        """Advance past a token."""
        self._checked(lambda: self._matcher.consume_token(token))

    def forced(self) -> list[int]:
        """The tokens that must come next, as the model's own tokenizer writes them; empty where there is a choice."""
        return self._checked(self._matcher.compute_ff_tokens)

    def _checked(self, call: Callable[[], _T]) -> _T:
        try:
            result = call()
        except BaseException as error:  # a panic of Rust is not an Exception
            raise ConstraintFailed(f"the format of the answer failed: {error!r}") from error
        if self._matcher.is_error():
            reason = self._matcher.get_error().partition("\n")[0][:200]
            if reason.startswith("NoExtension"):
                raise ConstraintFailed("the format allows no token of the model's vocabulary to follow; loosen it")
            raise ConstraintFailed(f"the format of the answer became too complex to be enforced: {reason}; simplify it")
        return result


class MatcherMaker:
    """Makes matchers for one vocabulary; from any thread. The tokens of the vocabulary are read once, for the first."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._reading = threading.Lock()
        self._tokenizer: LLTokenizer | None = None
        self._tokens = 0
        self._canonical = True
        self._special: dict[str, int] = {}

    def make(self, grammar: str) -> Matcher:
        """A matcher for a compiled grammar with its markers. Raises InvalidRequest."""
        tokenizer = self._ready_tokenizer()
        if not self._canonical:
            grammar = json.dumps({"grammars": without_forcing(json.loads(grammar)["grammars"])})
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=PARSER_LIMITS)
        if matcher.is_error():
            reason = matcher.get_error().partition("\n")[0][:200]
            raise InvalidRequest(f"the format of the answer cannot be enforced: {reason}")
        return Matcher(matcher, self._tokens)

    def special_token(self, text: str) -> int | None:
        """The token with this text that is not plain text, such as a control token; None if there is none."""
        self._ready_tokenizer()
        return self._special.get(text)

    def _ready_tokenizer(self) -> LLTokenizer:
        with self._reading:
            if self._tokenizer is None:
                self._tokenizer = self._make_tokenizer()
            return self._tokenizer

    def _make_tokenizer(self) -> LLTokenizer:
        """As llguidance.llamacpp does."""
        vocabulary = self._vocabulary
        tokens: list[bytes] = []
        for token in range(vocabulary.size):
            text = vocabulary.bytes_of(token)
            if vocabulary.is_special(token, text):
                self._special.setdefault(text.decode(errors="replace"), token)
                text = _SPECIAL + text
            tokens.append(text)
        ends: Sequence[int] = vocabulary.end_tokens
        if not ends:  # llguidance needs one; it is never chosen, since the model does not have it
            ends = [len(tokens)]
            tokens.append(_SPECIAL + b"<end>")
        self._tokens = len(tokens)
        function = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
        try:
            return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined, no-any-return]
                tokens=tokens, vocab_ptr=vocabulary.handle, tokenize_fptr=function, eos_token=list(ends), slices=[]
            )
        except ValueError as error:  # its tokenizer changes texts, so its tokens for a given text cannot be known
            structlog.get_logger().info("this vocabulary allows no forced tokens", reason=str(error))
            self._canonical = False
            return LLTokenizer(_Tokens(tokens, ends), eos_token=list(ends))  # type: ignore[arg-type]


class _Tokens:
    """Tokens alone, for LLTokenizer: no text is ever tokenized."""

    bos_token_id = None
    is_tokenizer_wrapper = True

    def __init__(self, tokens: list[bytes], ends: Sequence[int]) -> None:
        self.tokens = tokens
        self.eos_token_id = ends[0]
        self.special_token_ids = [token for token, text in enumerate(tokens) if text.startswith(_SPECIAL)]

    def __call__(self, text: str | bytes) -> list[int]:
        return []
