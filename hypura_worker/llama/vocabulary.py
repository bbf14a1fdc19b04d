"""Text to token ids, and back to bytes.

text ──┬─ no user wrote a control token's text ─► llama_tokenize, which honours all of them
       └─ otherwise ─► cut at the control tokens that are honoured ─► the text between: llama_tokenize, honouring none
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

import llama_cpp

from hypura_worker.errors import InvalidRequest

_NONE = -1
_PIECE_BYTES = 64
_SPACES = b" \t\n\v\f\r"
"""C's isspace, by which llama.cpp strips around tokens with such an attribute."""


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

    def tokenize(self, text: str, *, add_special: bool = True, plain: Sequence[tuple[int, int]] = ()) -> list[int]:
        """Token ids of the text; special tokens in it are honoured, except control tokens that overlap `plain`.

        plain: (start, length) of what users wrote, in bytes. Begin-of-sequence is put first if the model wants it,
        add_special is set, and the text does not begin with it already.
        """
        data = text.encode()
        bos_text = self.text(self.bos).encode()
        if add_special and self.adds_bos and bos_text and data.startswith(bos_text):
            add_special = any(start < len(bos_text) for start, _ in plain)
        if plain and (places := self._honoured(data, plain)) is not None:
            return self._cut_at(data, places, add_special=add_special)
        return self._tokens(data, add_special=add_special, parse_special=True)

    @cached_property
    def controls(self) -> dict[bytes, int]:
        """Texts and ids of the control tokens, the longest first, as llama.cpp looks for them."""
        wanted = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        found = {
            llama_cpp.llama_vocab_get_text(self._vocab, token): token
            for token in range(self.size)
            if llama_cpp.llama_vocab_get_attr(self._vocab, token) & wanted
        }
        return {text: found[text] for text in sorted(found, key=len, reverse=True) if text}

    def _honoured(self, data: bytes, plain: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]] | None:
        """Start, end and id of the control tokens outside `plain`; None if there are none within it."""
        taken = bytearray(len(data))  # 1: a token that is honoured; 2: what users wrote.
        for start, length in plain:
            taken[start : start + length] = b"\2" * len(taken[start : start + length])
        places: list[tuple[int, int, int]] = []
        is_plain = False
        for text, token in self.controls.items():
            at = data.find(text)
            while at >= 0:
                end = at + len(text)
                if taken.find(2, at, end) >= 0:
                    is_plain, end = True, at + 1
                elif taken.find(1, at, end) >= 0:
                    end = at + 1
                else:
                    taken[at:end] = b"\1" * len(text)
                    places.append((at, end, token))
                at = data.find(text, end)
        return sorted(places) if is_plain else None

    def _cut_at(self, data: bytes, places: Sequence[tuple[int, int, int]], *, add_special: bool) -> list[int]:
        """The tokens of the text with these control tokens and no others, cut as llama.cpp cuts it."""
        ends = self._tokens(b"", add_special=add_special, parse_special=False)
        begin = 1 if add_special and self.adds_bos else 0
        tokens, at, strips = ends[:begin], 0, False
        for start, end, token in [*places, (len(data), len(data), _NONE)]:
            attributes = 0 if token == _NONE else llama_cpp.llama_vocab_get_attr(self._vocab, token)
            piece = data[at:start]
            piece = piece.lstrip(_SPACES) if strips else piece
            if attributes & llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP:
                piece = piece.rstrip(_SPACES)
            if piece:
                tokens += self._tokens(piece, add_special=False, parse_special=False)
            if token != _NONE:
                tokens.append(token)
            at, strips = end, bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP)
        return tokens + ends[begin:]

    def _tokens(self, data: bytes, *, add_special: bool, parse_special: bool) -> list[int]:
        room = len(data) + 8
        while True:
            tokens = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, room, add_special, parse_special)
            if count >= 0:
                return list(tokens[:count])
            if -count <= room:
                raise InvalidRequest("the text could not be tokenized")
            room = -count

    def piece(self, token: int, visible: Collection[str] = ()) -> bytes:
        """The bytes that a token stands for; empty for control tokens, except those whose text is visible."""
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

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token, control tokens included."""
        return self._render(token, special=True)

    def is_special(self, token: int, text: bytes) -> bool:
        """Whether the token is not plain text: a control token, or one that was added in a control token's form."""
        attributes = llama_cpp.llama_vocab_get_attr(self._vocab, token)
        if attributes & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL:
            return True
        added = bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED)
        return added and text[:1] in (b"<", b"[") and text[-1:] in (b">", b"]")

    def ends_generation(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """All tokens that end an answer."""
        return tuple(token for token in range(self.size) if self.ends_generation(token))

    def check(self, tokens: list[int]) -> None:
        """Raise InvalidRequest if an id is not of this vocabulary."""
        wrong = next((token for token in tokens if not 0 <= token < self.size), None)
        if wrong is not None:
            raise InvalidRequest(f"token id {wrong} is not in the vocabulary of {self.size}")

    def _render(self, token: int, *, special: bool) -> bytes:
        room = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
