"""Text to token ids, and back to bytes."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from functools import cached_property

import llama_cpp

from hypura_worker.errors import RequestError

_NONE = -1
_PIECE_BYTES = 64


class Vocabulary:
    """The vocabulary of a loaded model (its llama_model pointer)."""

    def __init__(self, model: int | None) -> None:
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self.size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.bos: int = llama_cpp.llama_vocab_bos(self._vocab)
        self.eos: int = llama_cpp.llama_vocab_eos(self._vocab)
        self.adds_bos: bool = llama_cpp.llama_vocab_get_add_bos(self._vocab)
        self._pieces: dict[int, bytes] = {}

    @property
    def handle(self) -> int:
        """The llama_vocab pointer."""
        return int(self._vocab)

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Token ids of the text; special tokens in it are honoured.

        Begin-of-sequence is put first if the model wants it, add_special is set, and the
        text does not begin with it already.
        """
        data = text.encode()
        if (
            add_special
            and self.adds_bos
            and self.bos != _NONE
            and data.startswith(self.text(self.bos).encode() or b"\0")
        ):
            add_special = False
        room = len(data) + 8
        while True:
            tokens = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, room, add_special, True)
            if count >= 0:
                return list(tokens[:count])
            if -count <= room:
                raise RequestError("the text could not be tokenized")
            room = -count

    def piece(self, token: int, visible: Collection[str] = ()) -> bytes:
        """The bytes that a token stands for; empty for control tokens, but for those whose text is visible."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._render(token, special=False)
        if known or not visible:
            return known
        text = self.text(token)
        return text.encode() if text in visible else known

    def text(self, token: int) -> str:
        """A token's own text, control tokens included; empty if there is none."""
        return "" if token == _NONE else self._render(token, special=True).decode(errors="replace")

    def ends_generation(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """All tokens that end an answer."""
        return tuple(token for token in range(self.size) if self.ends_generation(token))

    def check(self, tokens: list[int]) -> None:
        """Raise RequestError if an id is not of this vocabulary."""
        wrong = next((token for token in tokens if not 0 <= token < self.size), None)
        if wrong is not None:
            raise RequestError(f"token id {wrong} is not in the vocabulary of {self.size}")

    def _render(self, token: int, *, special: bool) -> bytes:
        room = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
