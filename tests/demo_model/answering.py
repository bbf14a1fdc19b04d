"""Turns what a model wrote into an answer: the thinking taken off, tool calls parsed."""

import json
import re
from collections.abc import Callable, Sequence

from tests.demo_model.conversation import Answer, Conversation, ToolCall

#: Answers conversations whose last message, the right answer, is not looked at.
Answerer = Callable[[Sequence[Conversation]], list[Answer]]

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def parsed(written: str) -> Answer:
    """The answer in what follows the prompt, end marks cut off. Never raises: a bad call is not well formed."""
    thinking, mark, rest = written.partition("</think>")
    if not mark:
        thinking, rest = "", written
    calls, well_formed = [], True
    for text in _CALL.findall(rest):
        try:
            call = json.loads(text)
        except ValueError:
            well_formed = False
            continue
        if not (
            isinstance(call, dict) and isinstance(call.get("name"), str) and isinstance(call.get("arguments"), dict)
        ):
            well_formed = False
            continue
        calls.append(ToolCall(call["name"], call["arguments"]))
    text = _CALL.sub("", rest)
    well_formed = well_formed and "<tool_call>" not in text and "<think>" not in text
    return Answer(text.strip(), tuple(calls), well_formed, thinking.replace("<think>", "").strip())
