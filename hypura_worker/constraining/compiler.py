"""Compiles the format of an answer to a grammar of llguidance: `python -m hypura_worker.constraining.compiler`.

    worker ──stdin: Source as JSON────► compiler
           ◄──stdout: Compiled as JSON──

llguidance's limits bound much, not all: an intersection of regular expressions can take for ever, and a long chain
of references overflows the stack. So a format is compiled in a process of its own first, under limits of the system;
a grammar that passes is compiled again in the worker, with the model's vocabulary.
"""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLTokenizer, regex_to_lark

from hypura_worker.constraining.gbnf import GrammarError, to_lark
from hypura_worker.constraining.limits import (
    CPU_SECONDS,
    JSON_OPTIONS,
    MAX_FORCED_CHARACTERS,
    MAX_GRAMMAR_BYTES,
    MAX_PROCESS_BYTES,
    PARSER_LIMITS,
    STACK_BYTES,
    without_forcing,
)
from hypura_worker.constraining.schema import SchemaError, convert

_MAX_ERROR_CHARACTERS = 300
_COUNT = re.compile(r"\{\s*(\d+)")
_LONG_LITERAL = re.compile(rf'"(?:[^"\\]|\\.){{{MAX_FORCED_CHARACTERS},}}"')
_LAST_ERROR = re.compile(r"(?:^|\n)error: (.*)")


@dataclass(frozen=True, slots=True)
class Part:
    """A grammar within the grammar, which names it as @name; what: what it is, for messages."""

    name: str
    what: str
    form: str
    text: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A rule that stands for this text, or, with `until`, for any text up to it and it."""

    rule: str
    text: str
    until: bool


@dataclass(frozen=True, slots=True)
class Source:
    """The format of an answer. form: json_schema, lark or gbnf; parts and markers belong to Lark."""

    form: str
    text: str
    parts: tuple[Part, ...] = ()
    markers: tuple[Marker, ...] = ()

    def to_json(self) -> str:
        """As the compiler's process reads it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Source:
        """The opposite of to_json."""
        fields = json.loads(text)
        parts, markers = fields["parts"], fields["markers"]
        return cls(fields["form"], fields["text"], tuple(Part(**p) for p in parts), tuple(Marker(**m) for m in markers))


@dataclass(frozen=True, slots=True)
class Compiled:
    """grammar: llguidance's JSON text, without the rules of the markers; or the error that left none."""

    grammar: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""


class _Refused(Exception):
    pass


class _Bytes:
    """A vocabulary whose tokens are the bytes, for llguidance's LLTokenizer."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"\xff<end>")
    special_token_ids = (eos_token_id,)
    is_tokenizer_wrapper = True

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


BYTES = _Bytes()


def compile_source(source: Source) -> Compiled:
    """The grammar of a format, or why there is none."""
    tokenizer = LLTokenizer(BYTES)  # type: ignore[arg-type]
    try:
        try:
            return _compile(source, tokenizer, relaxed=False)
        except _Refused as refused:
            # Before all of it is refused, what llguidance takes in some schemas and not in others is left out.
            try:
                return _compile(source, tokenizer, relaxed=True)
            except _Refused:
                raise refused from None
    except _Refused as error:
        return Compiled(error=str(error))


def marker_rules(markers: Sequence[Marker], special_token: Callable[[str], int | None]) -> str:
    """Lark rules of the markers: their token where the vocabulary has one for the text, else the text."""
    rules = []
    for marker in markers:
        token = special_token(marker.text)
        text = json.dumps(marker.text) if token is None else f"<[{token}]>"
        before = "/(?s:.*)/ " if marker.until else ""
        rules.append(f"\n{marker.rule}{'[lazy]' if marker.until and token is None else ''}: {before}{text}")
    return "".join(rules)


def _compile(source: Source, tokenizer: LLTokenizer, *, relaxed: bool) -> Compiled:
    warnings: list[str] = []
    grammars = [_grammar("", _noun(source.form), source.form, source.text, warnings, relaxed=relaxed)]
    for part in source.parts:
        grammars.append(_grammar(part.name, part.what, part.form, part.text, warnings, relaxed=relaxed))
    parts = grammars[1:]
    if any(map(_forces_much, grammars)):
        grammars = without_forcing(grammars)
    whole = [dict(grammars[0]), *grammars[1:]]
    if source.form == "lark":
        whole[0]["lark_grammar"] += marker_rules(source.markers, lambda text: None)
    error = _error(whole, tokenizer)
    for part, grammar in zip(source.parts, parts, strict=True):
        # A part that no text fits is found only when it is compiled alone, where the whole begins with something else.
        if error or "$ref" in part.text:
            alone = {key: value for key, value in grammar.items() if key != "name"}
            if part_error := _error([alone], tokenizer):
                raise _Refused(f"{part.what} cannot be enforced: {part_error}")
    if error:
        raise _Refused(f"{_noun(source.form)} cannot be enforced: {error}")
    return Compiled(json.dumps({"grammars": grammars}), tuple(warnings))


def _grammar(name: str, what: str, form: str, text: str, warnings: list[str], *, relaxed: bool) -> dict[str, Any]:
    """One of llguidance's grammars. Raises _Refused."""
    named = {"name": name} if name else {}
    try:
        match form:
            case "json_schema":
                schema, not_enforced = convert(json.loads(text), _pattern_error, relaxed=relaxed)
                warnings += [f"{what} is not enforced in full: {warning}" for warning in not_enforced]
                return {**named, "json_schema": {**schema, "x-guidance": JSON_OPTIONS}}
            case "gbnf":
                return {**named, "lark_grammar": to_lark(text)}
            case _:
                return {**named, "lark_grammar": text}
    except (SchemaError, GrammarError) as error:
        raise _Refused(f"{what} cannot be enforced: {error}") from error
    except RecursionError as error:
        raise _Refused(f"{what} cannot be enforced: it nests too deep; make it flatter") from error
    except ValueError as error:
        raise _Refused(f"{what} is not valid JSON: {error}") from error


def _noun(form: str) -> str:
    return "the JSON schema" if form == "json_schema" else "the grammar"


def _forces_much(grammar: dict[str, Any]) -> bool:
    """Whether it may leave no choice about a text longer than MAX_FORCED_CHARACTERS."""
    if "lark_grammar" in grammar:
        return bool(_LONG_LITERAL.search(grammar["lark_grammar"])) or _repeats(grammar["lark_grammar"])
    unvisited: list[Any] = [grammar["json_schema"]]
    while unvisited:
        value = unvisited.pop()
        if isinstance(value, str) and len(value) > MAX_FORCED_CHARACTERS:
            return True
        if isinstance(value, dict):
            patterns = [value.get("pattern"), *(value.get("patternProperties") or ())]
            if any(isinstance(pattern, str) and _repeats(pattern) for pattern in patterns):
                return True
            least = value.get("minLength")
            if isinstance(least, int) and least > MAX_FORCED_CHARACTERS:
                return True
            unvisited += [*value, *value.values()]
        elif isinstance(value, list):
            unvisited += value
    return False


def _repeats(text: str) -> bool:
    """Whether the counts of a pattern, all multiplied, are more than may be forced."""
    product = 1
    for count in _COUNT.findall(text):
        product *= max(1, int(count[:9]))
        if product > MAX_FORCED_CHARACTERS:
            return True
    return False


def _error(grammars: list[dict[str, Any]], tokenizer: LLTokenizer) -> str:
    """Why llguidance refuses the grammars; empty if it takes them."""
    matcher = LLMatcher(tokenizer, json.dumps({"grammars": grammars}), log_level=0, limits=PARSER_LIMITS)
    if not matcher.is_error():
        matcher.compute_bitmask()
    if not matcher.is_error():
        return ""
    error = matcher.get_error()
    if "NoExtension" in error[:40]:
        return "no text fits it"
    return _short(error)


def _pattern_error(pattern: str) -> str:
    """Why a regular expression cannot be enforced; empty if it can."""
    error = LLMatcher.validate_grammar(LLMatcher.grammar_from_regex(regex_to_lark(pattern, "dw")), limits=PARSER_LIMITS)
    return _short(error)


def _short(error: str) -> str:
    last = _LAST_ERROR.search(error)
    text = (last[1] if last else error.partition("\n")[0]).strip()
    return text[:_MAX_ERROR_CHARACTERS]


def _limit() -> None:
    """Limit this process: its time, so that it does not outlive its worker by long, and its memory where possible."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_PROCESS_BYTES, MAX_PROCESS_BYTES))
    except (ValueError, OSError):  # macOS has no such limit
        pass


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def main() -> None:
    """Compile one source."""
    _limit()
    source = Source.from_json(sys.stdin.buffer.read())
    before = _peak_bytes()

    def answer() -> None:
        compiled = compile_source(source)
        if compiled.grammar and _peak_bytes() - before > MAX_GRAMMAR_BYTES:
            megabytes = MAX_GRAMMAR_BYTES >> 20
            compiled = Compiled(error=f"the grammar takes more than {megabytes} MB; simplify the format")
        json.dump(dataclasses.asdict(compiled), sys.stdout)

    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=answer)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
