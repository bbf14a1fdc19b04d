"""Notations of tool calls other than JSON: tags, keys and values, Gemma's, Python calls.

Each function returns the calls of a whole body, and none if the body is anything else.
"""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypura_daemon.chat.parts import Part
from hypura_daemon.chat.tools import Toolbox, call, json_calls, loads

_MAX_PYTHON_CHARACTERS = 1 << 16
_NAME = r"[^\s<>\"']+"
_GLM_NAME = re.compile(r"\s*([^\s<>{}]+)\s*")
_GLM_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>\s*", re.DOTALL)
_GEMMA = re.compile(r"\s*call:([^\s{]+)\s*(\{.*\})\s*", re.DOTALL)
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.-]*)(\s*:)")


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of calls. The patterns function and parameter have the name as their group 1."""

    function: str
    function_end: str
    parameter: str
    parameter_end: str


QWEN_TAGS = Tags(rf"<function=({_NAME})\s*>", "</function>", rf"<parameter=({_NAME})\s*>", "</parameter>")
INVOKE_TAGS = Tags(
    rf"<invoke name=[\"']?({_NAME})[\"']?>", "</invoke>", rf"<parameter name=[\"']?({_NAME})[\"']?>", "</parameter>"
)
_DSML = "｜DSML｜"
DSML_TAGS = Tags(
    rf"<{_DSML}invoke name=\"({_NAME})\">",
    f"</{_DSML}invoke>",
    rf"<{_DSML}parameter name=\"({_NAME})\"[^<>]*>",
    f"</{_DSML}parameter>",
)


def tagged_calls(body: str, tags: Tags, tools: Toolbox) -> list[Part]:
    """<function=name><parameter=key>value</parameter></function>, and so on."""
    calls, at = [], 0
    function, parameter = re.compile(rf"\s*{tags.function}"), re.compile(rf"\s*{tags.parameter}")
    while match := function.match(body, at):
        name, at = match[1], match.end()
        arguments: dict[str, Any] = {}
        while given := parameter.match(body, at):
            end = _parameter_end(body, given.end(), tags)
            if end < 0:
                return []
            value = body[given.end() : end].removeprefix("\n").removesuffix("\n")
            arguments[given[1]] = tools.argument(name, given[1], value)
            at = end + len(tags.parameter_end)
        closing = re.compile(r"\s*" + re.escape(tags.function_end)).match(body, at)
        if closing is None:
            return []
        at = closing.end()
        calls.append(call(name, arguments))
    return calls if not body[at:].strip() else []


def _parameter_end(body: str, start: int, tags: Tags) -> int:
    """Where the value ends: at the closing tag before another parameter or the function's end."""
    follows = re.compile(rf"\s*(?:{tags.parameter}|{re.escape(tags.function_end)})")
    end = body.find(tags.parameter_end, start)
    while end >= 0 and not follows.match(body, end + len(tags.parameter_end)):
        end = body.find(tags.parameter_end, end + 1)
    return end


def glm_calls(body: str, tools: Toolbox) -> list[Part]:
    """name<arg_key>key</arg_key><arg_value>value</arg_value>"""
    match = _GLM_NAME.match(body)
    if match is None:
        return []
    arguments, at = {}, match.end()
    while pair := _GLM_PAIR.match(body, at):
        key = pair[1].strip()
        arguments[key] = tools.argument(match[1], key, pair[2])
        at = pair.end()
    return [call(match[1], arguments)] if at == len(body) else []


def gemma_calls(body: str, quote: str) -> list[Part]:
    """call:name{key:<quote>text<quote>,other:5}"""
    match = _GEMMA.fullmatch(body)
    if match is None:
        return []
    pieces = match[2].split(quote)
    texts = (
        json.dumps(piece) if number % 2 else _BARE_KEY.sub(r'\1"\2"\3', piece) for number, piece in enumerate(pieces)
    )
    try:
        arguments = loads("".join(texts))
    except ValueError:
        return []
    return [call(match[1], arguments)] if isinstance(arguments, dict) else []


def python_calls(body: str) -> list[Part]:
    """[name(key="value"), other()], or the same as JSON."""
    try:
        return json_calls(loads(body))
    except ValueError:
        pass
    if len(body) > _MAX_PYTHON_CHARACTERS:
        return []
    try:
        tree = ast.parse(body.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
        return [_python_call(node) for node in nodes]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return []


def _python_call(node: ast.expr) -> Part:
    if not isinstance(node, ast.Call) or node.args or not all(keyword.arg for keyword in node.keywords):
        raise ValueError("it is not a call with named arguments")
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return call(ast.unparse(node.func), arguments)


def joined(calls: Sequence[Sequence[Part]]) -> list[Part]:
    """All calls, if none of the lists is empty."""
    return [one for some in calls for one in some] if all(calls) else []
