"""The chat template: hypura's own renderer writes what training read, and a conversation only ever grows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest

from hypura_daemon.chat.prompts import jinja
from tests.demo_model.conversation import Conversation, Message, Text, ToolCall, assistant, user
from tests.demo_model.data.mixture import documents
from tests.demo_model.documents import packed, tokenized
from tests.demo_model.template import render, render_whole, template_source
from tests.demo_model.tokenizer import shipped

TOOL: dict[str, object] = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
CALLED = Message("assistant", "", tool_calls=(ToolCall("f", {"a": "ü"}),))


def by_hypura(messages: Sequence[Message], tools: Sequence[dict[str, object]] = (), think: bool | None = False) -> str:
    return jinja.render(template_source(), [message.for_template() for message in messages], tools, think=think)


def test_hypura_renders_what_training_read() -> None:
    for item in islice(documents(5), 250):
        if isinstance(item, Conversation):
            tools = [dict(tool) for tool in item.tools]
            assert by_hypura(item.asked, tools, item.think) == render(item.asked, tools, think=item.think)
            assert render_whole(item).startswith(render(item.asked, tools, think=item.think))


def test_thinking_is_off_unless_it_is_asked_for() -> None:
    asked = [user("hi")]
    empty = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert by_hypura(asked, think=False) == by_hypura(asked, think=None) == empty
    assert by_hypura(asked, think=True) == empty.removesuffix("<think>\n\n</think>\n\n")


def test_earlier_thinking_is_dropped() -> None:
    text = by_hypura([user("2+2"), assistant("4", "hard sum"), user("sure?")])
    assert "hard sum" not in text and "<think>\n\n</think>\n\n4<|im_end|>" in text
    assert "<think>\nhard sum\n</think>\n\n4" in render([user("2+2"), assistant("4", "hard sum")], prompt=False)


def test_a_conversation_only_grows_so_that_its_kv_can_be_kept() -> None:
    turns = [
        Message("system", "s"),
        user("a"),
        CALLED,
        Message("tool", "1", tool_name="f"),
        assistant("b"),
        user("c"),
    ]
    before = ""
    for end in (2, 4, 6):
        now = by_hypura(turns[:end], [TOOL])
        assert now.startswith(before)
        before = now


def test_tools_calls_and_results() -> None:
    text = by_hypura([user("a"), CALLED, Message("tool", "1"), Message("tool", "2")], [TOOL])
    assert text.startswith("<|im_start|>system\n# Tools\n<tools>\nf: d\n</tools>\n")
    assert '<tool_call>\n{"name": "f", "arguments": {"a": "ü"}}\n</tool_call><|im_end|>' in text
    responses = "\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n"
    assert f"<|im_start|>user{responses}" in text
    with_system = by_hypura([Message("system", "Be kind."), user("a")], [TOOL])
    assert with_system.startswith("<|im_start|>system\nBe kind.\n\n# Tools")


def test_two_calls_and_a_word_before_them() -> None:
    message = Message("assistant", "Wait.", tool_calls=(ToolCall("f", {}), ToolCall("g", {})))
    text = by_hypura([user("a"), message])
    assert 'Wait.\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n<tool_call>\n{"name": "g"' in text


def test_targets_are_the_answers_and_their_end_marks() -> None:
    tokenizer = shipped()
    turns = (Message("system", "s"), user("a"), assistant("one"), user("b"), assistant("two", "hm"))
    item = next(item for item in documents(1) if isinstance(item, Conversation) and not item.tools)
    for thinking, last in (("hm", "<think>\nhm\n</think>\n\ntwo<|im_end|>"), ("", "two<|im_end|>")):
        made = replace(item, messages=(*turns[:-1], assistant("two", thinking)), think=bool(thinking))
        document = tokenized(made, tokenizer)
        targets = [token for token, wanted in zip(document.tokens, document.targets, strict=True) if wanted]
        assert tokenizer.decode(targets) == "one<|im_end|>" + last


def test_the_middle_alone_is_learned_of_an_infill() -> None:
    tokenizer = shipped()
    document = tokenized(Text("infill", "<|fim_prefix|>a<|fim_suffix|>c<|fim_middle|>b<|endoftext|>"), tokenizer)
    targets = [token for token, wanted in zip(document.tokens, document.targets, strict=True) if wanted]
    assert tokenizer.decode(targets) == "b<|endoftext|>"


@pytest.mark.parametrize("row_tokens", [256, 2048])
def test_rows_hold_whole_documents(row_tokens: int) -> None:
    tokenizer = shipped()
    block = next(packed(documents(2), tokenizer, 4, row_tokens))
    assert block.tokens.shape == block.targets.shape == block.document.shape == (4, row_tokens)
    assert not block.targets[block.document == 0].any()
    assert (block.document > 0).mean() > 0.8
    for tokens, document in zip(block.tokens, block.document, strict=True):
        for number in range(1, document.max() + 1):
            text = tokenizer.decode(tokens[document == number].tolist())
            assert text.endswith(("<|im_end|>\n", "<|endoftext|>"))
