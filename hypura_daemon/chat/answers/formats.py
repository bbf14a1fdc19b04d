"""The format of a model's answers, as its template shows it: the markers of thinking, and the syntax of tool calls."""

from dataclasses import dataclass
from functools import lru_cache

from hypura_daemon.chat.answers import harmony
from hypura_daemon.chat.answers.harmony import HarmonyParser
from hypura_daemon.chat.answers.tagged import TaggedParser
from hypura_daemon.chat.parts import Kind, Parser
from hypura_daemon.chat.tool_calls.syntaxes import JSON, Syntax, syntax_of
from hypura_daemon.chat.tools import Toolbox

_THINKING = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("◁think▷", "◁/think▷"),
    ("<thought>", "</thought>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
)
_SWITCHES = ("enable_thinking", "thinking", ".Think", ".IsThinkSet", "reasoning")


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """opens and closes are the markers of thinking, empty for none; switchable: the template can turn thinking off."""

    is_harmony: bool
    opens: str
    closes: str
    switchable: bool
    syntax: Syntax

    @property
    def thinks(self) -> bool:
        """Whether answers may begin with thinking."""
        return self.is_harmony or bool(self.opens)

    def visible(self, tools: Toolbox) -> tuple[str, ...]:
        """The tokens that the parser needs to see, control tokens or not."""
        if self.is_harmony:
            return harmony.VISIBLE
        marks = [mark for mark in (self.opens.removesuffix("thought\n"), self.closes) if mark]
        return (*marks, *(self.syntax.visible if tools else ()))

    def starts_inside(self, prompt: str) -> bool:
        """Whether the prompt ends with the marker that opens thinking."""
        return bool(self.opens) and prompt.rstrip().endswith(self.opens.rstrip())

    def is_closed(self, prompt: str) -> bool:
        """Whether the prompt ends with completed thinking, so that the answer has none."""
        return bool(self.closes) and prompt.rstrip().endswith(self.closes)

    def without_thinking(self, prompt: str) -> str:
        """The prompt with completed, empty thinking, for a template that cannot turn thinking off."""
        if self.starts_inside(prompt):
            return f"{prompt.rstrip()}\n\n{self.closes}\n\n"
        if self.opens and not self.switchable and not self.is_closed(prompt):
            return f"{prompt}{self.opens}\n\n{self.closes}\n\n"
        return prompt

    def parser(self, prompt: str, tools: Toolbox) -> Parser:
        """A parser for the answer to this prompt; calls are parsed only if there are tools."""
        if self.is_harmony:
            message = prompt.rpartition(harmony.START)[2]
            if harmony.MESSAGE not in message or harmony.END in message:
                return HarmonyParser(tools)
            return HarmonyParser(
                tools, Kind.THINKING if "analysis" in message.partition(harmony.MESSAGE)[0] else Kind.CONTENT
            )
        return TaggedParser(
            self.opens,
            self.closes,
            inside=self.starts_inside(prompt),
            syntax=self.syntax if tools else None,
            tools=tools,
        )


@lru_cache(maxsize=32)
def format_of(template: str) -> AnswerFormat:
    """The format that a chat template shows, jinja or Go."""
    if harmony.CHANNEL in template and harmony.MESSAGE in template:
        return AnswerFormat(True, "", "", switchable=False, syntax=JSON)
    shown = ((opens, closes) for opens, closes in _THINKING if closes in template or opens.rstrip() in template)
    opens, closes = next(shown, ("", ""))
    switchable = any(switch in template for switch in _SWITCHES)
    return AnswerFormat(False, opens, closes, switchable, syntax_of(template))
