"""What an answer must look like: thinking first if the model thinks, then JSON, grammar text, or tool calls.

The constraint covers the thinking too, as any text up to its closing marker, so that it binds only from where the
model itself ends its thinking.
"""

import json
from dataclasses import dataclass

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.answers import harmony
from hypura_daemon.chat.answers.formats import AnswerFormat
from hypura_daemon.chat.lark import Lark, either, plain, schema_text
from hypura_daemon.chat.tool_calls.grammars import arguments
from hypura_daemon.chat.tools import Tool, Toolbox
from hypura_daemon.errors import InvalidRequest

AUTO, NONE, REQUIRED = "auto", "none", "required"
_BLANKS = "/[ \\t\\r\\n]{1,4}/?"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a request requires of its answer: JSON of a schema, text of a grammar, or calls of these tools.

    must_call: calls are not optional. one_call: exactly one call.
    """

    json_schema: str = ""
    grammar: str = ""
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    one_call: bool = False

    def __bool__(self) -> bool:
        return bool(self.json_schema or self.grammar or self.must_call)


def requirements_of(json_schema: str, grammar: str, tools: Toolbox, choice: str) -> Requirements:
    """The requirements of a request, checked. Raises InvalidRequest."""
    if grammar and json_schema:
        raise InvalidRequest("grammar and json_schema are both set; give one of them")
    if choice in ("", AUTO, NONE):
        return Requirements(json_schema, grammar, tools.tools)
    if choice == REQUIRED:
        if not tools:
            raise InvalidRequest("tool_choice is 'required', but the request offers no tools; give some")
        return Requirements(tools=tools.tools, must_call=True)
    if choice not in tools.by_name:
        known = ", ".join(tools.by_name) or "none"
        raise InvalidRequest(
            f"tool_choice is {choice[:80]!r}, which is not an offered tool; the tools are: {known[:400]}"
        )
    return Requirements(tools=(tools.by_name[choice],), must_call=True, one_call=True)


def bare_constraint(limits: inference_pb2.Limits) -> worker_pb2.Constraint:
    """The constraint of a completion without a chat. Raises InvalidRequest."""
    if limits.grammar and limits.json_schema:
        raise InvalidRequest("grammar and json_schema are both set; give one of them")
    if limits.grammar:
        return worker_pb2.Constraint(gbnf=limits.grammar)
    if not limits.json_schema:
        return worker_pb2.Constraint()
    text = schema_text(limits.json_schema)
    return worker_pb2.Constraint(any_json=True) if json.loads(text) == {} else worker_pb2.Constraint(json_schema=text)


def constraint(
    required: Requirements, answer_format: AnswerFormat, prompt: str, *, may_think: bool
) -> worker_pb2.Constraint:
    """The constraint of the answer to a prompt; empty if nothing is required.

    may_think: thinking is not turned off. Raises InvalidRequest for what cannot be enforced.
    """
    if not required:
        return worker_pb2.Constraint()
    lark = Lark(answer_format.visible(Toolbox(required.tools)))
    if answer_format.is_harmony:
        return lark.constraint(_harmony(lark, required, prompt))
    thought = _thinking(lark, answer_format, prompt, may_think=may_think)
    calls = ""
    if required.must_call or (required.tools and required.json_schema):
        calls = _calls(lark, answer_format, required)
    if not thought and not calls:
        return bare_constraint(inference_pb2.Limits(json_schema=required.json_schema, grammar=required.grammar))
    ways = [] if required.must_call else [_content(lark, required)]
    ways += [calls] if calls else []
    return lark.constraint(f"{thought} {either(ways)}".strip())


def check_requirements(required: Requirements, answer_format: AnswerFormat) -> None:
    """Raise InvalidRequest for requirements that cannot be enforced, before the model is loaded."""
    constraint(required, answer_format, f"{harmony.START}assistant" if answer_format.is_harmony else "", may_think=True)


def _content(lark: Lark, required: Requirements) -> str:
    if required.grammar:
        return lark.gbnf(required.grammar)
    text = schema_text(required.json_schema)
    return lark.schema({"type": "object"} if json.loads(text) == {} else text, "the JSON schema")


def _thinking(lark: Lark, answer_format: AnswerFormat, prompt: str, *, may_think: bool) -> str:
    """What may precede the answer itself; empty for nothing."""
    if answer_format.starts_inside(prompt):
        return f"{lark.until(answer_format.closes)} {_BLANKS}"
    if not answer_format.opens or not may_think or answer_format.is_closed(prompt):
        return ""
    return f"( {_BLANKS} {lark.text(answer_format.opens)} {lark.until(answer_format.closes)} )? {_BLANKS}"


def _calls(lark: Lark, answer_format: AnswerFormat, required: Requirements) -> str:
    """Calls in the model's own syntax; empty if they are optional and that syntax cannot be enforced."""
    syntax = answer_format.syntax
    ways = [syntax.call(lark, tool) for tool in required.tools]
    if not all(ways):
        if not required.must_call:
            return ""
        raise InvalidRequest(
            f"this model writes tool calls in a way ({syntax.name}) that cannot be enforced for the offered tools; "
            "leave tool_choice at auto"
        )
    one = lark.rule(" | ".join(way for way in ways if way))
    more = "" if required.one_call else f"( {lark.texts(syntax.between)} {one} )*"
    return f"( {lark.texts(syntax.before)} {one} {more} {lark.texts(syntax.after)} )"


def _harmony(lark: Lark, required: Requirements, prompt: str) -> str:
    """Harmony messages: an optional analysis, then the final message, or a call, which ends the answer."""
    at_message_start = prompt.rstrip().endswith(f"{harmony.START}assistant")
    if not at_message_start:
        raise InvalidRequest(
            "this chat template does not end at the start of a message; its answers cannot be constrained"
        )
    analysis = lark.rule(
        f"{lark.text(harmony.CHANNEL + 'analysis' + harmony.MESSAGE)} {lark.until(harmony.END)} "
        f"{lark.text(harmony.START + 'assistant')}"
    )
    ways = [] if required.must_call else [_final(lark, required)]
    if required.must_call or required.json_schema:
        ways += [_harmony_call(lark, tool) for tool in required.tools]
    return f"{analysis}? {either(ways)}"


def _final(lark: Lark, required: Requirements) -> str:
    kind = f'( " "? {lark.text(harmony.CONSTRAIN + "json")} )?'
    return f"{lark.text(harmony.CHANNEL + 'final')} {kind} {lark.text(harmony.MESSAGE)} {_content(lark, required)}"


def _harmony_call(lark: Lark, tool: Tool) -> str:
    head = f"{lark.text(harmony.CHANNEL)} {plain(f'commentary to=functions.{tool.name}')}"
    kind = f'( " "? {lark.text(harmony.CONSTRAIN)}? "json" )?'
    return f"{head} {kind} {lark.text(harmony.MESSAGE)} {arguments(lark, tool)}"
