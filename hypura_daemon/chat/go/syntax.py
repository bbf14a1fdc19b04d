"""Parses a template of Go's text/template language into a tree. Source: https://pkg.go.dev/text/template

    text {{ action }} text        {{- and -}} trim the white space beside them
    action: pipeline, if, range, with, define, block, template, break, continue, $x := …, comment
    pipeline: command | command   command: operand operand …
    operand: .Field.Field, $x.Field, (pipeline).Field, function, "text", 1.5, true, nil

Templates may be hostile: their length, nesting and number of parts are bounded.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hypura_daemon.chat.go.nodes import (
    Access,
    Branch,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipeline,
    Show,
    Template,
    Text,
    Use,
)

MAX_TEMPLATE_CHARACTERS = 1 << 18
MAX_NODES = 100_000
MAX_NESTING = 60

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]{1,16}|\d[\d_]{0,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?)(?![A-Za-z_]))
    |(?P<field>\.[A-Za-z_]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<declare>:=)
    |(?P<sign>[=|(),])""",
    re.VERBOSE,
)
_OPEN = re.compile(r"\{\{(?:-(?=\s))?")
_COMMENT = re.compile(r"\{\{(?:-\s+)?/\*.*?\*/(?:\s+-)?\}\}", re.DOTALL)
_BLOCKS = ("if", "range", "with", "define", "block")


class TemplateSyntaxError(ValueError):
    """The template has a syntax error; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


@lru_cache(maxsize=16)
def parse(template: str) -> Template:
    """The tree of a template. Raises TemplateSyntaxError."""
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateSyntaxError(f"it has {len(template)} characters, more than the {MAX_TEMPLATE_CHARACTERS} allowed")
    reader = _Reader(_pieces(template))
    body, ended = reader.nodes(0)
    if ended:
        raise TemplateSyntaxError(f"line {reader.line}: unexpected {{{{ {ended} }}}}")
    return Template(body, reader.defined)


def _pieces(template: str) -> list[str | tuple[_Token, ...]]:
    """Texts and the tokens of actions, white space trimmed as the actions say."""
    pieces: list[str | tuple[_Token, ...]] = []
    at, trim, line = 0, False, 1
    while at < len(template):
        start = template.find("{{", at)
        text = template[at : start if start >= 0 else len(template)]
        line += text.count("\n")
        shown = text.lstrip() if trim else text
        if start < 0:
            pieces.append(shown)
            break
        opened = _OPEN.match(template, start)
        comment = _COMMENT.match(template, start)
        trims_left = opened is not None and opened[0].endswith("-")
        pieces.append(shown.rstrip() if trims_left else shown)
        if comment is not None:
            at, trim = comment.end(), comment[0].endswith("-}}")
        else:
            tokens, at, trim = _tokens(template, opened.end() if opened else start + 2, line)
            pieces.append(tokens)
        line += template.count("\n", start, at)
        if len(pieces) > MAX_NODES:
            raise TemplateSyntaxError(f"it has more than {MAX_NODES} parts")
    return pieces


def _tokens(template: str, at: int, line: int) -> tuple[tuple[_Token, ...], int, bool]:
    """The tokens of one action, where the text after it starts, and whether that is trimmed."""
    tokens: list[_Token] = []
    spaced = True
    while True:
        if template.startswith("}}", at):
            return tuple(tokens), at + 2, False
        if spaced and template.startswith("-}}", at):
            return tuple(tokens), at + 3, True
        match = _TOKEN.match(template, at)
        if match is None:
            raise TemplateSyntaxError(f"line {line}: {template[at : at + 20]!r} is not valid syntax")
        kind = match.lastgroup or ""
        spaced = kind == "space"
        if kind == "field" and not tokens_adjoin(tokens, template, at):
            kind = "first-field"
        if not spaced:
            tokens.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
        at = match.end()


def tokens_adjoin(tokens: Sequence[_Token], template: str, at: int) -> bool:
    """Whether a field belongs to the token before it: nothing is between them, and that token can have fields."""
    if not tokens or template[at - 1].isspace():
        return False
    return tokens[-1].kind in ("field", "first-field", "variable") or tokens[-1].text == ")"


class _Reader:
    """Makes the nodes of the tree from the pieces."""

    def __init__(self, pieces: Sequence[str | tuple[_Token, ...]]) -> None:
        self.defined: dict[str, tuple[Node, ...]] = {}
        self.line = 1
        self._pieces = pieces
        self._at = 0
        self._tokens: tuple[_Token, ...] = ()
        self._token = 0
        self._loops = 0

    def nodes(self, depth: int) -> tuple[tuple[Node, ...], str]:
        """Nodes up to `end` or `else`, and the word that ended them; "" at the end of the template."""
        if depth > MAX_NESTING:
            raise self._bad(f"blocks are nested more than {MAX_NESTING} deep")
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, str):
                if piece:
                    nodes.append(Text(piece))
                continue
            self._tokens, self._token = piece, 0
            if not piece:
                raise self._bad("an action is empty")
            self.line = piece[0].line
            word = piece[0].text if piece[0].kind == "word" else ""
            if word in ("end", "else"):
                self._token = 1
                if word == "end":
                    self._finish()
                return tuple(nodes), word
            nodes += self._action(word, depth)
        return tuple(nodes), ""

    def _action(self, word: str, depth: int) -> list[Node]:
        if word in _BLOCKS:
            self._token = 1
            return self._block(word, depth)
        if word == "template":
            self._token = 1
            name = self._string()
            pipeline = self._pipeline(depth) if self._more() else None
            self._finish()
            return [Use(name, pipeline)]
        if word in ("break", "continue"):
            self._token = 1
            self._finish()
            if not self._loops:
                raise self._bad(f"{word} is outside of range")
            return [Jump(word)]
        pipeline = self._pipeline(depth)
        self._finish()
        return [Show(pipeline)]

    def _block(self, word: str, depth: int) -> list[Node]:
        if word in ("define", "block"):
            name = self._string()
            pipeline = self._pipeline(depth) if word == "block" else None
            self._finish()
            loops, self._loops = self._loops, 0
            body, ended = self.nodes(depth + 1)
            self._loops = loops
            self._expect_end(word, ended)
            self.defined[name] = body
            return [Use(name, pipeline)] if word == "block" else []
        return [self._branch(word, depth)]

    def _branch(self, word: str, depth: int) -> Branch:
        if depth > MAX_NESTING:
            raise self._bad(f"blocks are nested more than {MAX_NESTING} deep")
        pipeline = self._pipeline(depth, ranged=word == "range")
        self._finish()
        self._loops += word == "range"
        body, ended = self.nodes(depth + 1)
        self._loops -= word == "range"
        otherwise: tuple[Node, ...] = ()
        if ended == "else":
            following = self._peek()
            if following is not None and following.text in ("if", "with") and word != "range":
                self._token += 1
                return Branch(word, pipeline, body, (self._branch(following.text, depth + 1),))
            self._finish()
            otherwise, ended = self.nodes(depth + 1)
        self._expect_end(word, ended)
        return Branch(word, pipeline, body, otherwise)

    def _pipeline(self, depth: int, *, ranged: bool = False) -> Pipeline:
        variables, declares = self._assignment(ranged=ranged)
        commands = [self._command(depth)]
        while self._take("|"):
            commands.append(self._command(depth))
        return Pipeline(tuple(commands), variables, declares)

    def _assignment(self, *, ranged: bool) -> tuple[tuple[str, ...], bool]:
        start, names = self._token, []
        while (token := self._peek()) is not None and token.kind == "variable":
            names.append(token.text)
            self._token += 1
            if self._take(","):
                continue
            if self._take(":=") or self._take("="):
                if len(names) > (2 if ranged else 1):
                    raise self._bad(f"{len(names)} variables are too many")
                return tuple(names), self._tokens[self._token - 1].text == ":="
            break
        self._token = start
        return (), False

    def _command(self, depth: int) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while (token := self._peek()) is not None and token.text not in ("|", ")"):
            operands.append(self._operand(token, depth))
        if not operands:
            raise self._bad("a value is missing")
        return tuple(operands)

    def _operand(self, token: _Token, depth: int) -> Operand:
        self._token += 1
        match token.kind:
            case "string":
                return Literal(self._unquoted(token.text))
            case "char":
                return Literal(ord(self._unquoted('"' + token.text[1:-1].replace('"', '\\"') + '"')[:1] or "\0"))
            case "number":
                return Literal(_number(token.text))
            case "first-field":
                return Access(None, (token.text[1:], *self._more_fields()))
            case "dot":
                return Access(None, ())
            case "variable":
                return Access(token.text, self._more_fields())
            case "word" if token.text in ("true", "false", "nil"):
                return Literal({"true": True, "false": False, "nil": None}[token.text])
            case "word":
                return Function(token.text)
        if token.text != "(":
            raise self._bad(f"unexpected {token.text!r}")
        if depth > MAX_NESTING:
            raise self._bad(f"parentheses are nested more than {MAX_NESTING} deep")
        inner = self._pipeline(depth + 1)
        if not self._take(")"):
            raise self._bad("a parenthesis is not closed")
        return Access(inner, self._more_fields())

    def _more_fields(self) -> tuple[str, ...]:
        fields = []
        while (token := self._peek()) is not None and token.kind == "field":
            fields.append(token.text[1:])
            self._token += 1
        return tuple(fields)

    def _string(self) -> str:
        token = self._peek()
        if token is None or token.kind != "string":
            raise self._bad("a name in quotes is missing")
        self._token += 1
        return self._unquoted(token.text)

    def _unquoted(self, text: str) -> str:
        if text.startswith("`"):
            return text[1:-1]
        escaped = re.sub(r"\\([av']|x[0-9a-fA-F]{2}|[0-7]{3}|U[0-9a-fA-F]{8})", _json_escape, text)
        try:
            return str(json.loads(escaped, strict=False))
        except ValueError as error:
            raise self._bad(f"the text {text[:40]} has an unknown escape sequence") from error

    def _peek(self) -> _Token | None:
        return self._tokens[self._token] if self._token < len(self._tokens) else None

    def _more(self) -> bool:
        return self._token < len(self._tokens)

    def _take(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.text != text:
            return False
        self._token += 1
        return True

    def _finish(self) -> None:
        token = self._peek()
        if token is not None:
            raise self._bad(f"unexpected {token.text!r}")

    def _expect_end(self, word: str, ended: str) -> None:
        if ended != "end":
            raise self._bad(f"{{{{ {word} }}}} has no {{{{ end }}}}")

    def _bad(self, why: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(f"line {self.line}: {why}")


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    if "x" in plain.lower():
        return int(plain, 16)
    return float(plain) if any(mark in plain for mark in ".eE") else int(plain)


def _json_escape(match: re.Match[str]) -> str:
    code = match[1]
    if code in ("a", "v", "'"):
        return {"a": "\\u0007", "v": "\\u000b", "'": "'"}[code]
    number = int(code[1:], 16) if code[0] in "xU" else int(code, 8)
    return json.dumps(chr(number))[1:-1] if number <= 0x10FFFF else "\\ufffd"
