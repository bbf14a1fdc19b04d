"""The table of all syntaxes for tool calls: how a template shows each, how it is parsed, and how it is enforced."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from hypura_daemon.chat.lark import Lark
from hypura_daemon.chat.tool_calls import grammars, notations
from hypura_daemon.chat.tool_calls.readers import NO_CALL, BlockReader, JsonReader, Reader, Reading
from hypura_daemon.chat.tools import Tool, Toolbox

MakeReader = Callable[[Toolbox], Reader]
_TOOL_CALL, _TOOL_CALL_END = "<tool_call>", "</tool_call>"
_MISTRAL_HEAD = re.compile(r"\s*(?P<name>[^\s\[\]{}]+)\s*(?:\[CALL_ID\][^\[\]{}]*)?(?:\[ARGS\])?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Syntax:
    """One way of writing calls.

    shown: texts that a template with this syntax has. opens: the markers that begin a block, with its reader.
    drops: markup without meaning. marks: further markers that the reader needs to see. bare: JSON without a marker is
    parsed too, if it names an offered tool. call: a tool's call as Lark, or None if it cannot be enforced; before,
    between and after are the texts around several calls, with "\\n?" for an optional line break.
    """

    name: str
    shown: tuple[str, ...]
    opens: Mapping[str, MakeReader]
    call: Callable[[Lark, Tool], str | None]
    drops: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    bare: bool = False
    before: tuple[str, ...] = ()
    between: tuple[str, ...] = ("\n?",)
    after: tuple[str, ...] = ()
    markers: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "markers", (*self.opens, *self.drops))

    @property
    def visible(self) -> tuple[str, ...]:
        """All markers that the reader needs to see, control tokens or not."""
        return (*self.markers, *self.marks)


def _json(*closes: str) -> MakeReader:
    return lambda tools: JsonReader(closes)


def _named(head: str, *closes: str) -> MakeReader:
    pattern = re.compile(head, re.DOTALL)
    return lambda tools: JsonReader(closes, pattern)


def _tagged(opens: str, closes: str, tags: notations.Tags, *then: str, whole: bool = False) -> MakeReader:
    return lambda tools: BlockReader(
        opens, closes, lambda body: notations.tagged_calls(body, tags, tools), whole=whole, then=then
    )


def _glm(tools: Toolbox) -> Reader:
    return BlockReader(_TOOL_CALL, _TOOL_CALL_END, lambda body: notations.glm_calls(body, tools), delimited=False)


def _gemma(opens: str, closes: str, quote: str) -> MakeReader:
    return lambda tools: BlockReader(opens, closes, lambda body: notations.gemma_calls(body, quote))


def _python(opens: str, closes: str) -> MakeReader:
    return lambda tools: BlockReader(opens, closes, notations.python_calls)


class _MistralReader:
    """[TOOL_CALLS] followed by a JSON list, or by name[ARGS]{…}."""

    def __init__(self) -> None:
        self._reader: Reader | None = None

    def read(self, text: str, *, final: bool, cut: bool = False) -> Reading | None:
        """See Reader."""
        begun = text.lstrip()[:1]
        if self._reader is None:
            if not begun:
                return NO_CALL if final else None
            self._reader = JsonReader() if begun in "[{" else JsonReader((), _MISTRAL_HEAD)
        return self._reader.read(text, final=final, cut=cut)


def _mistral(tools: Toolbox) -> Reader:
    return _MistralReader()


def _json_between(before: str, after: str, key: str = "arguments") -> Callable[[Lark, Tool], str]:
    return partial(grammars.json_call, key=key, before=before, after=after)


def _name_between(before: str, between: str, after: str) -> Callable[[Lark, Tool], str]:
    return partial(grammars.named_call, before=before, between=between, after=after)


def _plain_between(start: str, pair: tuple[str, str, str], end: str) -> Callable[[Lark, Tool], str]:
    return partial(grammars.plain_call, start=start, pair=pair, end=end)


_CALLS, _CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL, _CALL_END, _SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_KIMI, _KIMI_ARGUMENTS, _KIMI_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_KIMI_ALL, _KIMI_ALL_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_DEEPSEEK_OLD = Syntax(
    "deepseek",
    (_CALLS, "```json"),
    {_CALL: _named(rf"\s*(?:function)?{_SEPARATOR}(?P<name>[^\n]+?)\s*```(?:json)?\s*", "```", _CALL_END)},
    _name_between(f"{_CALL}function{_SEPARATOR}", "\n```json\n", f"\n```{_CALL_END}"),
    drops=(_CALLS, _CALLS_END),
    marks=(_SEPARATOR, _CALL_END),
    before=(_CALLS,),
    after=(_CALLS_END,),
)
_DSML = "<｜DSML｜function_calls>"
_DSML_END = "</｜DSML｜function_calls>"

SYNTAXES = (
    _DEEPSEEK_OLD,
    Syntax(
        "deepseek-3.1",
        (_CALLS,),
        {_CALL: _named(rf"\s*(?P<name>[^\n{{]+?){_SEPARATOR}\s*", _CALL_END)},
        _name_between(_CALL, _SEPARATOR, _CALL_END),
        drops=(_CALLS, _CALLS_END),
        marks=(_SEPARATOR, _CALL_END),
        before=(_CALLS,),
        between=(),
        after=(_CALLS_END,),
    ),
    Syntax(
        "dsml",
        ("｜DSML｜",),
        {_DSML: _tagged(_DSML, _DSML_END, notations.DSML_TAGS)},
        lambda lark, tool: None,
        marks=(_DSML_END, "｜DSML｜"),
    ),
    Syntax(
        "kimi",
        (_KIMI_ALL,),
        {
            _KIMI: _named(
                rf"\s*(?:functions\.)?(?P<name>[^\s:{{]+?)(?::\d+)?\s*{re.escape(_KIMI_ARGUMENTS)}\s*", _KIMI_END
            )
        },
        _name_between(f"{_KIMI}functions.", f":0{_KIMI_ARGUMENTS}", _KIMI_END),
        drops=(_KIMI_ALL, _KIMI_ALL_END),
        marks=(_KIMI_ARGUMENTS, _KIMI_END),
        before=(_KIMI_ALL,),
        between=(),
        after=(_KIMI_ALL_END,),
    ),
    Syntax(
        "cohere",
        ("<|START_ACTION|>",),
        {"<|START_ACTION|>": _json("<|END_ACTION|>")},
        partial(grammars.json_call, key="parameters", name_key="tool_name", first='"tool_call_id": "0", '),
        drops=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        marks=("<|END_ACTION|>",),
        before=("<|START_ACTION|>[",),
        between=(", ",),
        after=("]<|END_ACTION|>",),
    ),
    Syntax(
        "mistral",
        ("[TOOL_CALLS]", "[ARGS]"),
        {"[TOOL_CALLS]": _mistral},
        _name_between("[TOOL_CALLS]", "[ARGS]", ""),
        marks=("[ARGS]", "[CALL_ID]"),
        between=(),
    ),
    Syntax(
        "mistral-list",
        ("[TOOL_CALLS]",),
        {"[TOOL_CALLS]": _mistral},
        _json_between("", ""),
        marks=("[ARGS]", "[CALL_ID]"),
        before=("[TOOL_CALLS]", " ?", "["),
        between=(", ",),
        after=("]",),
    ),
    Syntax(
        "glm",
        (_TOOL_CALL, "<arg_key>"),
        {_TOOL_CALL: _glm},
        _plain_between(
            f"{_TOOL_CALL}{{}}\n", ("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"), _TOOL_CALL_END
        ),
        marks=(_TOOL_CALL_END, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    Syntax(
        "functions",
        (_TOOL_CALL, "<function="),
        {
            _TOOL_CALL: _tagged(_TOOL_CALL, _TOOL_CALL_END, notations.QWEN_TAGS),
            "<function=": _tagged("<function=", "</function>", notations.QWEN_TAGS, _TOOL_CALL_END, whole=True),
        },
        _plain_between(
            f"{_TOOL_CALL}\n<function={{}}>\n",
            ("<parameter=", ">\n", "\n</parameter>\n"),
            f"</function>\n{_TOOL_CALL_END}",
        ),
        marks=(_TOOL_CALL_END,),
    ),
    Syntax(
        "invoke",
        ("<minimax:tool_call>", "<invoke name="),
        {"<minimax:tool_call>": _tagged("<minimax:tool_call>", "</minimax:tool_call>", notations.INVOKE_TAGS)},
        _plain_between('<invoke name="{}">\n', ('<parameter name="', '">', "</parameter>\n"), "</invoke>\n"),
        marks=("</minimax:tool_call>",),
        before=("<minimax:tool_call>\n",),
        between=(),
        after=("</minimax:tool_call>",),
    ),
    Syntax(
        "gemma",
        ("<|tool_call>",),
        {"<|tool_call>": _gemma("<|tool_call>", "<tool_call|>", '<|"|>')},
        partial(grammars.gemma_call, quote='<|"|>', before="<|tool_call>", after="<tool_call|>"),
        marks=("<tool_call|>", '<|"|>'),
        between=(),
    ),
    Syntax(
        "function-gemma",
        ("<start_function_call>",),
        {"<start_function_call>": _gemma("<start_function_call>", "<end_function_call>", "<escape>")},
        partial(grammars.gemma_call, quote="<escape>", before="<start_function_call>", after="<end_function_call>"),
        marks=("<end_function_call>", "<escape>"),
        between=(),
    ),
    Syntax(
        "lists",
        ("<|tool_call|>",),
        {"<|tool_call|>": _json("<|/tool_call|>")},
        _json_between("", ""),
        marks=("<|/tool_call|>",),
        before=("<|tool_call|>[",),
        between=(", ",),
        after=("]",),
    ),
    Syntax(
        "python",
        ("<|tool_call_start|>",),
        {"<|tool_call_start|>": _python("<|tool_call_start|>", "<|tool_call_end|>")},
        lambda lark, tool: None,
        marks=("<|tool_call_end|>",),
    ),
    Syntax(
        "hermes",
        (_TOOL_CALL,),
        {_TOOL_CALL: _json(_TOOL_CALL_END)},
        _json_between(f"{_TOOL_CALL}\n", f"\n{_TOOL_CALL_END}"),
        marks=(_TOOL_CALL_END,),
        bare=True,
    ),
    Syntax(
        "tool-calls",
        ("<tool_calls>",),
        {"<tool_calls>": _json("</tool_calls>")},
        _json_between("", ""),
        marks=("</tool_calls>",),
        before=("<tool_calls>[",),
        between=(", ",),
        after=("]</tool_calls>",),
    ),
    Syntax(
        "nemotron",
        ("<TOOLCALL>",),
        {"<TOOLCALL>": _json("</TOOLCALL>")},
        _json_between("", ""),
        marks=("</TOOLCALL>",),
        before=("<TOOLCALL>[",),
        between=(", ",),
        after=("]</TOOLCALL>",),
    ),
    Syntax(
        "llama",
        ('"parameters"',),
        {"<|python_tag|>": _json()},
        partial(grammars.bare_json_call, key="parameters"),
        bare=True,
        between=("; ",),
    ),
)
JSON = Syntax("json", (), {}, partial(grammars.bare_json_call, key="arguments"), bare=True, between=("\n",))
"""For a template that shows no syntax: what models without a syntax of their own write."""


def syntax_of(template: str) -> Syntax:
    """The first syntax in the table that the template shows."""
    return next((one for one in SYNTAXES if all(text in template for text in one.shown)), JSON)
