"""How much a constraint may cost, to compile and for each token.

Measured with llguidance 1.9.1 on two cores; each limit is above what schemas of real programs need (a schema of
2,000 values of an enum, or of 1,000 properties, compiles in 0.1 s) and below what other requests would notice.
"""

from __future__ import annotations

from typing import Any

from llguidance import LLParserLimits

CPU_SECONDS = 2
"""Processor time of the compiler's process; compiling again in the worker takes less."""
COMPILE_SECONDS = 8.0
"""Wall time of the compiler's process: on a machine at load 20 the processor time may take that long."""
MAX_PROCESS_BYTES = 640 << 20
"""Address space of the compiler's process: 390 MB are Python's and the stack's."""
MAX_GRAMMAR_BYTES = 64 << 20
"""Resident memory that compiling may add: it takes as much in the worker."""
STACK_BYTES = 64 << 20
"""Of threads that compile grammars or follow them: llguidance recurses along chains of references and of rules."""

MAX_FORCED_CHARACTERS = 4096
"""The longest text that a format may force: llguidance finds all of it at once, and no limit of its own bounds that."""

PARSER_LIMITS = LLParserLimits(
    # Alternatives that may continue at one place: four for each property that may be left out.
    max_items_in_row=8_000,
    # Work of building the lexer: 20 ms.
    initial_lexer_fuel=1_000_000,
    # Work of one token's mask: lexer 15 ms, parser 3 ms.
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    # 0.4 kB each: 40 MB for a request, where the default is 250,000.
    max_lexer_states=100_000,
    # 0.2 kB each: 40 MB, where the default is 500,000.
    max_grammar_size=200_000,
    # It visits the whole vocabulary at once, which no fuel limits for large vocabularies.
    precompute_large_lexemes=False,
    # Clients get the errors: without the state of the parser.
    verbose_errors=False,
)

JSON_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One space after a comma and a colon, as Python and most chat templates write JSON: where more is allowed, small
models generate white space without end; and what is fixed needs no pass of its own."""


def without_forcing(grammars: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The grammars with an option that forces nothing: each token is then chosen, even where there is only one."""
    first, *rest = grammars
    option = '%llguidance {"no_forcing": true}\n'
    if "lark_grammar" in first:
        return [{**first, "lark_grammar": option + first["lark_grammar"]}, *rest]
    return [{"lark_grammar": f"{option}start: @answer"}, {**first, "name": "answer"}, *rest]
