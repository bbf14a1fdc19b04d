"""Turns grammars in llama.cpp's notation (GBNF) into llguidance's Lark.

llguidance's own converter does it; this one also reads escapes and the dot, which that one gets wrong. Rules that do
not refer to themselves become regular expressions; what stands between them is split greedily, as a lexer does.

https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import json

from llguidance import gbnf_to_lark as converter

MAX_CHARACTERS = 1 << 18
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_DIGITS = {"x": 2, "u": 4, "U": 8}


class GrammarError(ValueError):
    """The grammar cannot be converted; the message says why."""


def to_lark(text: str) -> str:
    """The grammar as Lark; its first rule is start. Raises GrammarError."""
    if len(text) > MAX_CHARACTERS:
        raise GrammarError(f"it has {len(text)} characters; {MAX_CHARACTERS} are allowed")
    try:
        rules = _Parser().parse(text)
        if "start" in rules and "root" in rules:
            # The converter gives root that name.
            rules["start"].name = "start-rule"
            rules = {rule.name: rule for rule in rules.values()}
            _rename(rules, "start", "start-rule")
        converter.resolve(rules)
    except RecursionError as error:
        raise GrammarError("it nests too deep") from error
    except converter.GbnfToLarkError as error:
        raise GrammarError(f"it is not valid GBNF: {error}") from error
    except Exception as error:  # the converter raises plain ones, for a rule that is missing or repeated
        raise GrammarError(str(error) or "it is not valid GBNF") from error
    ordered = sorted(rules.values(), key=lambda rule: rule.order)
    for rule in ordered:
        rule.comment = ""
    start = rules["start"]
    if start.alternatives.is_terminal():
        # As one expression it is not split anywhere.
        start.name, start.rule_is_terminal = "HYPURA_START", True
        return "start: HYPURA_START\n" + "\n".join(map(str, ordered)) + "\n"
    return "\n".join(map(str, ordered)) + "\n"


class _Parser(converter.GrammarParser):
    def _parse_literal(self, pos: converter.Position) -> tuple[converter.ASTNode, converter.Position]:
        text, pos = self._characters(pos.advance(), '"')
        return converter.LiteralNode(json.dumps("".join(text))[1:-1]), pos

    def _parse_char_class(self, pos: converter.Position) -> tuple[converter.ASTNode, converter.Position]:
        pos = pos.advance()
        negated = pos.current() == "^"
        parts: list[str] = []
        escaped, pos = self._characters(pos.advance() if negated else pos, "]")
        for number, character in enumerate(escaped):
            between = character == "-" and 0 < number < len(escaped) - 1
            parts.append("-" if between else _class_character(character))
        return converter.RegexNode(f"[{'^' if negated else ''}{''.join(parts)}]"), pos

    def _parse_sequence(
        self, pos: converter.Position, is_nested: bool
    ) -> tuple[converter.SequenceNode, converter.Position]:
        node, pos = super()._parse_sequence(pos, is_nested)
        for part in node.nodes:
            inner = part.node if isinstance(part, converter.RepetitionNode) else part
            if isinstance(inner, converter.RegexNode) and inner.rx == ".":
                inner.rx = "(?s:.)"
        return node, pos

    def _characters(self, pos: converter.Position, end: str) -> tuple[list[str], converter.Position]:
        """The characters up to the end, and the position after it."""
        found: list[str] = []
        while pos.current() != end:
            if not pos.current():
                raise converter.GbnfToLarkError(pos, f"Expected {end!r}")
            if pos.current() != "\\":
                found.append(pos.current())
                pos = pos.advance()
                continue
            pos = pos.advance()
            kind, count = pos.current(), _DIGITS.get(pos.current(), 0)
            if count:
                digits = pos.text[pos.pos + 1 : pos.pos + 1 + count]
                try:
                    found.append(chr(int(digits, 16)))
                except (ValueError, OverflowError) as error:
                    raise converter.GbnfToLarkError(pos, f"Invalid escape sequence \\{kind}{digits}") from error
            else:
                found.append(_ESCAPES.get(kind, kind))
            pos = pos.advance(1 + count)
        return found, pos.advance()


def _class_character(character: str) -> str:
    return character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):X}}}"


def _rename(rules: dict[str, converter.RuleNode], old: str, new: str) -> None:
    unvisited: list[converter.ASTNode] = [rule.alternatives for rule in rules.values()]
    while unvisited:
        node = unvisited.pop()
        if isinstance(node, converter.RuleRefNode) and node.name == old:
            node.name = new
        unvisited += node.children()
