"""Asks llguidance what a constraint admits: whole texts, and random walks through it."""

from __future__ import annotations

import json
import random

from llguidance import LLMatcher, LLTokenizer

from hypura.v1 import worker_pb2
from hypura_worker.constraining.compiler import BYTES, Compiled, compile_source
from hypura_worker.constraining.constraints import markers_of, source_of, with_markers
from hypura_worker.constraining.limits import PARSER_LIMITS

_END = BYTES.eos_token_id


class Refused(Exception):
    """The constraint cannot be enforced."""


class GrammarCheck:
    """A vocabulary whose tokens are the bytes; markers are their text."""

    def __init__(self) -> None:
        self._tokenizer = LLTokenizer(BYTES)  # type: ignore[arg-type]
        self.warnings: list[str] = []
        self._last = b"", Compiled()

    def accepts(self, constraint: worker_pb2.Constraint, text: str) -> bool:
        """Whether the text is one that the constraint lets be answered."""
        matcher = self.matcher(constraint)
        data = list(text.encode())
        return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()

    def walk(self, constraint: worker_pb2.Constraint, seed: int, longest: int = 400) -> str | None:
        """A text that the constraint lets be answered, taken at random; None if it would be too long."""
        matcher, chance, text = self.matcher(constraint), random.Random(seed), bytearray()
        while len(text) < longest:
            if matcher.is_stopped():
                return text.decode()
            allowed = _bits(matcher.compute_bitmask())
            if _END in allowed and (len(allowed) == 1 or chance.random() < 0.7):
                return text.decode()
            allowed.discard(_END)
            closing = [byte for byte in b'"}]' if byte in allowed]
            plain = [byte for byte in allowed if 32 <= byte < 127] or sorted(allowed)
            byte = chance.choice(closing if closing and chance.random() < 0.4 else plain)
            assert matcher.consume_token(byte), matcher.get_error()
            text.append(byte)
        return None

    def matcher(self, constraint: worker_pb2.Constraint) -> LLMatcher:
        """At the start of an answer. Raises Refused."""
        key = constraint.SerializeToString(deterministic=True)
        if self._last[0] != key:
            self._last = key, compile_source(source_of(constraint))
        compiled = self._last[1]
        if compiled.error:
            raise Refused(compiled.error)
        self.warnings = list(compiled.warnings)
        grammar = with_markers(compiled.grammar, markers_of(constraint), lambda text: None)
        return LLMatcher(self._tokenizer, grammar, log_level=0, limits=PARSER_LIMITS)


def of_schema(schema: object) -> worker_pb2.Constraint:
    """JSON of a schema, or of a schema's text."""
    return worker_pb2.Constraint(json_schema=schema if isinstance(schema, str) else json.dumps(schema))


def _bits(mask: bytes) -> set[int]:
    return {8 * i + bit for i, byte in enumerate(mask) for bit in range(8) if byte >> bit & 1}
