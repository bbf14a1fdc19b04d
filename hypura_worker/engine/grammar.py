"""What an answer may look like: a GBNF grammar."""

from __future__ import annotations

import re
from typing import Any

import llama_cpp

from hypura_worker.engine.parameters import Limits
from hypura_worker.errors import RequestError
from hypura_worker.llama.vocabulary import Vocabulary

_MAX_CHARACTERS = 1 << 18
_MAX_DEPTH = 200
_MAX_RULES = 4000
"""llama.cpp's parser and its check for left recursion recurse: more of either overflowed its stack."""


ROOT = "root"
_RULE_NAME = re.compile(r"[a-zA-Z0-9-]{1,64}")


def grammar_sampler(limits: Limits, vocabulary: Vocabulary, root: str = ROOT) -> Any:
    """A llama_sampler that admits only what the limits' grammar does, from the rule `root`; None without one.

    Raises RequestError for what does not parse, or is too large to be parsed safely.
    """
    text = limits.grammar
    if not text:
        return None
    _check_size(text)
    if not _RULE_NAME.fullmatch(root):
        raise RequestError(f"{root[:80]!r} is no name of a grammar's rule")
    sampler = llama_cpp.llama_sampler_init_grammar(vocabulary.handle, text.encode(), root.encode())
    if not sampler:
        raise RequestError(f"the grammar does not parse as GBNF with a rule named {root}")
    return sampler


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
