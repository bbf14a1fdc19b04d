"""JSON strings: of a length, of a format, or as a pattern has them."""

from collections.abc import Iterable

from hypura_daemon.chat.gbnf import Grammar, class_character, either, literal
from hypura_daemon.chat.schema.patterns import UnsupportedPattern, pattern_text
from hypura_daemon.errors import InvalidRequest

_MONTHS = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-9]))"
_DATE = f"[0-9]{{4}}-{_MONTHS}"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LABEL = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = rf"{_LABEL}(\.{_LABEL}){{0,8}}"
_URI = r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}:[a-zA-Z0-9._~:/?#@!$&'()*+,;=%\[\]-]+"
_DURATION = (
    "P([0-9]{1,9}W|([0-9]{1,9}Y)?([0-9]{1,9}M)?[0-9]{1,9}D(T[0-9]{1,9}H)?"
    "|([0-9]{1,9}D)?T([0-9]{1,9}H)?([0-9]{1,9}M)?[0-9]{1,9}S|([0-9]{1,9}D)?T([0-9]{1,9}H)?[0-9]{1,9}M"
    "|([0-9]{1,9}D)?T[0-9]{1,9}H|([0-9]{1,9}Y)?[0-9]{1,9}M|[0-9]{1,9}Y)"
)
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": _DURATION,
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "email": rf"[a-zA-Z0-9_+-]{{1,64}}(\.[a-zA-Z0-9_+-]{{1,32}}){{0,3}}@{_LABEL}(\.{_LABEL}){{0,4}}\.[a-zA-Z]{{2,24}}",
    "hostname": _HOST,
    "ipv4": rf"({_OCTET}\.){{3}}{_OCTET}",
    "ipv6": "([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}",
    "uri": _URI,
    "url": _URI,
}
"""What a format means; others, as JSON Schema has it, are notes and bind nothing."""


def character(grammar: Grammar) -> str:
    """One character of a JSON string; lone halves of surrogate pairs are left out, since UTF-8 has none."""
    low = "[0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}"
    plain = r'[^"\\\x00-\x1F\x7F]'
    return grammar.shared("char", f'{plain} | "\\\\" ( ["\\\\/bfnrt] | "u" ( {low} ) )')


def any_string(grammar: Grammar) -> str:
    """Any JSON string."""
    return grammar.shared("string", f'"\\"" {character(grammar)}* "\\""')


def string(grammar: Grammar, pattern: str, form: str, low: int, high: int | None) -> str:
    """A JSON string. A pattern and a format say how long it is by themselves: low and high then bind nothing.

    Raises InvalidRequest for a pattern that no grammar can hold, unless its format says the same.
    """
    if pattern:
        try:
            return f'"\\"" {pattern_text(grammar, pattern)} "\\""'
        except UnsupportedPattern as error:
            if form not in FORMATS:
                raise InvalidRequest(f"the pattern {pattern[:100]!r} cannot be enforced: {error}") from error
    if form in FORMATS:
        body = grammar.shared(f"{form}-text", pattern_text(grammar, f"^{FORMATS[form]}$"))
        return f'"\\"" {body} "\\""'
    if not low and high is None:
        return any_string(grammar)
    return f'"\\"" {grammar.repeated(character(grammar), low, high)} "\\""'


def other_string(grammar: Grammar, names: Iterable[str]) -> str:
    """A JSON string that is none of the names."""
    names = frozenset(names)
    return any_string(grammar) if not names else f'"\\"" {_unlike(grammar, names)} "\\""'


def _unlike(grammar: Grammar, endings: frozenset[str]) -> str:
    """What may follow when these endings must not, each read as JSON writes plain characters."""
    after: dict[str, set[str]] = {}
    for ending in endings:
        if ending:
            after.setdefault(ending[0], set()).add(ending[1:])
    firsts = "".join(class_character(first) for first in sorted(after))
    ways = [f'[^"\\\\\\x00-\\x1F\\x7F{firsts}] {character(grammar)}*']
    ways += [
        f"{literal(first)} {_unlike(grammar, frozenset(rest))}"
        for first, rest in sorted(after.items())
        if first not in '"\\' and first.isprintable()
    ]
    if "" not in endings:
        ways.append('""')
    return grammar.shared_body("other", either(ways))
