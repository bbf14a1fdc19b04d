"""What an answer must look like, as a grammar: thinking first where the model thinks, then JSON, or tool calls.

The grammar covers the thinking too, as any text up to its closing marker, so that what it really binds
begins where the model itself says that the thinking is over.
"""

import re
from dataclasses import dataclass

from hypura_daemon.chat import harmony
from hypura_daemon.chat.formats import AnswerFormat
from hypura_daemon.chat.gbnf import Grammar, either, literal
from hypura_daemon.chat.schema.convert import any_object, read_schema, schema_rule
from hypura_daemon.chat.syntaxes.grammars import arguments
from hypura_daemon.chat.tools import Tool, Toolbox
from hypura_daemon.errors import InvalidRequest

AUTO, NONE, REQUIRED = "auto", "none", "required"
_BLANKS = "[ \\t\\r\\n]{0,4}"
_ROOT = "hypura-root"
_OWN = re.compile(r"^\s*hypura-", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks of its answer: JSON of a schema, text of a grammar, or calls of these tools.

    must_call: calls are not optional. one_call: it is one alone.
    """

    json_schema: str = ""
    grammar: str = ""
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    one_call: bool = False

    def __bool__(self) -> bool:
        return bool(self.json_schema or self.grammar or self.must_call)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A grammar and the name of the rule it begins with; empty text binds nothing."""

    text: str = ""
    root: str = ""


def wanted(json_schema: str, grammar: str, tools: Toolbox, choice: str) -> Wanted:
    """The wishes of a request, checked. Raises InvalidRequest."""
    if grammar and json_schema:
        raise InvalidRequest("grammar and json_schema are both set; give one of them")
    if choice in ("", AUTO, NONE):
        return Wanted(json_schema, grammar, tools.tools)
    if choice == REQUIRED:
        if not tools:
            raise InvalidRequest("tool_choice is 'required', but the request offers no tools; give some")
        return Wanted(tools=tools.tools, must_call=True)
    if choice not in tools.by_name:
        known = ", ".join(tools.by_name) or "none"
        raise InvalidRequest(f"tool_choice is {choice[:80]!r}, which is no tool on offer; the tools are: {known[:400]}")
    return Wanted(tools=(tools.by_name[choice],), must_call=True, one_call=True)


def schema_grammar(json_schema: str) -> str:
    """The grammar of a schema's JSON text alone. Raises InvalidRequest."""
    grammar = Grammar()
    return grammar.text(_schema(grammar, json_schema))


def constraint(wish: Wanted, form: AnswerFormat, prompt: str, *, may_think: bool) -> Constraint:
    """The grammar for the answer to a prompt. Raises InvalidRequest for what cannot be enforced.

    may_think: thinking was not turned off.
    """
    if not wish:
        return Constraint()
    grammar = Grammar("hypura-" if wish.grammar else "")
    if form.is_harmony:
        return _constraint(grammar, _harmony(grammar, wish, prompt), wish)
    thought = _thinking(grammar, form, prompt, may_think=may_think)
    if wish.grammar and not thought:
        return Constraint(wish.grammar)
    ways = [] if wish.must_call else [_content(grammar, wish)]
    if wish.must_call or (wish.tools and wish.json_schema):
        calls = _calls(grammar, form, wish)
        if calls or wish.must_call:
            ways.append(calls)
    return _constraint(grammar, f"{thought} {either(ways)}".strip(), wish)


def _constraint(grammar: Grammar, root: str, wish: Wanted) -> Constraint:
    if not wish.grammar:
        return Constraint(grammar.text(root))
    if _OWN.search(wish.grammar):
        raise InvalidRequest("the grammar has a rule whose name begins with hypura-; give it another name")
    return Constraint(f"{grammar.text(root, _ROOT)}\n{wish.grammar}", _ROOT)


def _content(grammar: Grammar, wish: Wanted) -> str:
    return "root" if wish.grammar else _schema(grammar, wish.json_schema)


def _schema(grammar: Grammar, json_schema: str) -> str:
    schema = read_schema(json_schema)
    return any_object(grammar) if schema == {} else schema_rule(grammar, schema)


def _thinking(grammar: Grammar, form: AnswerFormat, prompt: str, *, may_think: bool) -> str:
    """What may stand before the answer itself; empty for nothing."""
    if form.starts_inside(prompt):
        return f"{grammar.until(form.closes)} {_BLANKS}"
    if not form.opens or not may_think or form.is_closed(prompt):
        return ""
    return f"( {_BLANKS} {literal(form.opens)} {grammar.until(form.closes)} )? {_BLANKS}"


def _calls(grammar: Grammar, form: AnswerFormat, wish: Wanted) -> str:
    """Calls in the model's own syntax; empty if they are optional and cannot be held to one."""
    syntax = form.syntax
    ways = [syntax.call(grammar, tool) for tool in wish.tools]
    if not all(ways):
        if not wish.must_call:
            return ""
        raise InvalidRequest(
            f"this model writes tool calls in a way ({syntax.name}) that cannot be enforced for the tools on offer; "
            "leave tool_choice at auto"
        )
    one = grammar.add("call", " | ".join(way for way in ways if way))
    more = "" if wish.one_call else f"( {syntax.between} {one} )*"
    return f"{syntax.before} {one} {more} {syntax.after}".strip()


def _harmony(grammar: Grammar, wish: Wanted, prompt: str) -> str:
    """Messages: analysis that may be left out, then the final one, or a call, which ends the answer."""
    begun = prompt.rstrip().endswith(f"{harmony.START}assistant")
    if not begun:
        raise InvalidRequest("this chat template does not end where a message begins; its answers cannot be enforced")
    analysis = grammar.add(
        "analysis",
        f"{literal(harmony.CHANNEL + 'analysis' + harmony.MESSAGE)} {grammar.until(harmony.END)} "
        f"{literal(harmony.START + 'assistant')}",
    )
    ways = [] if wish.must_call else [_final(grammar, wish)]
    if wish.must_call or wish.json_schema:
        ways += [_harmony_call(grammar, tool) for tool in wish.tools]
    return f"{analysis}? {either(ways)}"


def _final(grammar: Grammar, wish: Wanted) -> str:
    kind = f'( " "? {literal(harmony.CONSTRAIN + "json")} )?'
    return f"{literal(harmony.CHANNEL + 'final')} {kind} {literal(harmony.MESSAGE)} {_content(grammar, wish)}"


def _harmony_call(grammar: Grammar, tool: Tool) -> str:
    head = f"{harmony.CHANNEL}commentary to=functions.{tool.name}"
    kind = f'( " "? {literal(harmony.CONSTRAIN)}? "json" )?'
    return f"{literal(head)} {kind} {literal(harmony.MESSAGE)} {arguments(grammar, tool)}"


def check_wishes(wish: Wanted, form: AnswerFormat) -> None:
    """Raise InvalidRequest for a wish that cannot be enforced, before a model is loaded for it."""
    constraint(wish, form, f"{harmony.START}assistant" if form.is_harmony else "", may_think=True)
