"""What an answer may look like: a GBNF grammar, given or made from a JSON schema."""

from __future__ import annotations

import json
from typing import Any

import llama_cpp
from llama_cpp import llama_grammar

from hypura_worker.engine.request import Limits
from hypura_worker.errors import RequestError
from hypura_worker.llama.vocabulary import Vocabulary

_MAX_CHARACTERS = 1 << 18
_MAX_DEPTH = 200
_MAX_RULES = 4000
"""llama.cpp's parser and its check for left recursion recurse: more of either overflowed its stack."""


def grammar_sampler(limits: Limits, vocabulary: Vocabulary) -> Any:
    """A llama_sampler that admits only what the limits' grammar or schema does; None without either.

    Raises RequestError for what does not parse, or is too large to be parsed safely.
    """
    text = limits.grammar or (_from_schema(limits.json_schema) if limits.json_schema else "")
    if not text:
        return None
    _check_size(text)
    sampler = llama_cpp.llama_sampler_init_grammar(vocabulary.handle, text.encode(), b"root")
    if not sampler:
        raise RequestError("the grammar does not parse as GBNF with a rule named root")
    return sampler


def _from_schema(schema: str) -> str:
    if len(schema) > _MAX_CHARACTERS:
        raise RequestError(f"the JSON schema has {len(schema)} characters; {_MAX_CHARACTERS} are allowed")
    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the JSON schema is no JSON: {error}") from error
    if parsed == {}:
        return llama_grammar.JSON_GBNF
    try:
        return str(llama_grammar.json_schema_to_gbnf(schema))
    except Exception as error:  # the converter raises whatever it stumbles over
        raise RequestError(f"the JSON schema cannot be turned into a grammar: {error}") from error


def _check_size(text: str) -> None:
    if len(text) > _MAX_CHARACTERS:
        raise RequestError(f"the grammar has {len(text)} characters; {_MAX_CHARACTERS} are allowed")
    if text.count("::=") > _MAX_RULES:
        raise RequestError(f"the grammar has {text.count('::=')} rules; {_MAX_RULES} are allowed")
    depth = deepest = 0
    for character in text:  # brackets in literals count too: the bound is generous
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH:
        raise RequestError(f"the grammar nests {deepest} deep; {_MAX_DEPTH} are allowed")
