"""Makes a grammar of a constraint on trial, in a process of its own that may die of it.

    worker ──stdin: {"form", "text", "parts", "markers"}──► python -m hypura_worker.constraining.compiler
           ◄──stdout: {"grammar", "warnings"} or {"error"}──

llguidance's limits bound much, not all: an intersection of regular expressions can take for ever, and a long chain
of references overflows the stack. So this is tried here first, under limits of the system; what comes out well is
made again in the worker, with the model's vocabulary.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import threading
from collections.abc import Mapping
from typing import Any

from llguidance import LLMatcher, LLTokenizer, regex_to_lark

from hypura_worker.constraining.gbnf import GrammarError, lark_of
from hypura_worker.constraining.limits import (
    CPU_SECONDS,
    JSON_OPTIONS,
    MAX_FORCED_CHARACTERS,
    MAX_GROWN_BYTES,
    MAX_TRIAL_BYTES,
    PARSER_LIMITS,
    STACK_BYTES,
    without_forcing,
)
from hypura_worker.constraining.schema import SchemaError, taken

_MAX_ERROR_CHARACTERS = 300
_COUNT = re.compile(r"\{\s*(\d+)")
_LONG_LITERAL = re.compile(rf'"(?:[^"\\]|\\.){{{MAX_FORCED_CHARACTERS},}}"')
_LAST_ERROR = re.compile(r"(?:^|\n)error: (.*)")


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


def tried(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a constraint: its grammar as llguidance's JSON text with the markers left out, or an error."""
    tokenizer = LLTokenizer(BYTES)  # type: ignore[arg-type]
    try:
        try:
            return _made(asked, tokenizer, relaxed=False)
        except _Refused as refused:
            # What llguidance takes in some schemas and not in others is left out before all of it is refused.
            try:
                return _made(asked, tokenizer, relaxed=True)
            except _Refused:
                raise refused from None
    except _Refused as error:
        return {"error": str(error)}


def _made(asked: Mapping[str, Any], tokenizer: LLTokenizer, *, relaxed: bool) -> dict[str, Any]:
    warnings: list[str] = []
    grammars = [_grammar("", "", asked["form"], asked["text"], warnings, relaxed=relaxed)]
    for part in asked["parts"]:
        grammars.append(
            _grammar(part["name"], f"{part['what']} ", part["form"], part["text"], warnings, relaxed=relaxed)
        )
    parts = grammars[1:]
    if any(map(_forces_much, grammars)):
        grammars = without_forcing(grammars)
    whole = [dict(grammars[0]), *grammars[1:]]
    if asked["form"] == "lark":
        whole[0]["lark_grammar"] += "".join(
            f"\n{marker['rule']}{'[lazy]' if marker['until'] else ''}: "
            f"{'/(?s:.*)/ ' if marker['until'] else ''}{json.dumps(marker['text'])}"
            for marker in asked["markers"]
        )
    error = _error(whole, tokenizer)
    for part, grammar in zip(asked["parts"], parts, strict=True):
        # A part that nothing fits is found out by itself alone, where the whole begins with something else.
        if error or "$ref" in part["text"]:
            alone = {key: value for key, value in grammar.items() if key != "name"}
            if found := _error([alone], tokenizer):
                raise _Refused(f"{part['what']} cannot be enforced: {found}")
    if error:
        raise _Refused(f"{_named(asked['form'])} cannot be enforced: {error}")
    return {"grammar": json.dumps({"grammars": grammars}), "warnings": warnings}


def _grammar(name: str, what: str, form: str, text: str, warnings: list[str], *, relaxed: bool) -> dict[str, Any]:
    """One of llguidance's grammars."""
    named = {"name": name} if name else {}
    what = what or f"{_named(form)} "
    try:
        match form:
            case "json_schema":
                schema, passed_over = taken(json.loads(text), _pattern_error, relaxed=relaxed)
                warnings += [f"{what}is not enforced in full: {warning}" for warning in passed_over]
                return {**named, "json_schema": {**schema, "x-guidance": JSON_OPTIONS}}
            case "gbnf":
                return {**named, "lark_grammar": lark_of(text)}
            case _:
                return {**named, "lark_grammar": text}
    except (SchemaError, GrammarError) as error:
        raise _Refused(f"{what}cannot be enforced: {error}") from error
    except RecursionError as error:
        raise _Refused(f"{what}cannot be enforced: it nests too deep; make it flatter") from error
    except ValueError as error:
        raise _Refused(f"{what}is no valid JSON: {error}") from error


def _forces_much(grammar: dict[str, Any]) -> bool:
    """Whether it may leave no choice about a text longer than MAX_FORCED_CHARACTERS."""
    if "lark_grammar" in grammar:
        return bool(_LONG_LITERAL.search(grammar["lark_grammar"])) or _repeats(grammar["lark_grammar"])
    waiting: list[Any] = [grammar["json_schema"]]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and len(value) > MAX_FORCED_CHARACTERS:
            return True
        if isinstance(value, dict):
            patterns = [value.get("pattern"), *(value.get("patternProperties") or ())]
            if any(isinstance(pattern, str) and _repeats(pattern) for pattern in patterns):
                return True
            least = value.get("minLength")
            if isinstance(least, int) and least > MAX_FORCED_CHARACTERS:
                return True
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
    return False


def _repeats(text: str) -> bool:
    """Whether the counts of a pattern, all multiplied, are more than may be forced."""
    product = 1
    for count in _COUNT.findall(text):
        product *= max(1, int(count[:9]))
        if product > MAX_FORCED_CHARACTERS:
            return True
    return False


def _named(form: str) -> str:
    return "the JSON schema" if form == "json_schema" else "the grammar"


def _error(grammars: list[dict[str, Any]], tokenizer: LLTokenizer) -> str:
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
    words = (last[1] if last else error.partition("\n")[0]).strip()
    return words[:_MAX_ERROR_CHARACTERS]


def _limit() -> None:
    """Limits of this process: time, so that none outlives its worker by long, and memory where the system knows it."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_TRIAL_BYTES, MAX_TRIAL_BYTES))
    except (ValueError, OSError):  # macOS knows no such limit
        pass


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def main() -> None:
    """Answer one constraint."""
    _limit()
    asked = json.load(sys.stdin.buffer)
    before = _peak_bytes()

    def answer() -> None:
        found = tried(asked)
        if "grammar" in found and _peak_bytes() - before > MAX_GROWN_BYTES:
            found = {"error": f"the grammar takes more than {MAX_GROWN_BYTES >> 20} MB; simplify the format"}
        json.dump(found, sys.stdout)

    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=answer)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
