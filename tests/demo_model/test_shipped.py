"""The shipped model: what is in the package is what the recipe makes, and it keeps its promises."""

import subprocess
import sys
from pathlib import Path

import gguf
import pytest

from hypura_daemon.models.model import open_model
from hypura_daemon.models.stores.places import DEMO_FOLDER
from tests.demo_model.conversation import Check, Conversation, Message, assistant, single, user
from tests.demo_model.export import check_file
from tests.demo_model.graders import is_right
from tests.demo_model.llama_answers import LlamaModel
from tests.demo_model.template import template_source
from tests.demo_model.tokenizer import shipped

(SHIPPED,) = DEMO_FOLDER.glob("hypura-demo*.gguf")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_the_file_is_small_and_says_what_it_can() -> None:
    assert "Q4_K" in check_file(SHIPPED)
    assert open_model(SHIPPED, "demo").capabilities == ("completion", "tools", "thinking", "insert")


def test_the_file_has_the_recipe_s_template_and_tokenizer() -> None:
    fields = gguf.GGUFReader(SHIPPED).fields
    assert fields["tokenizer.chat_template"].contents() == template_source()
    assert tuple(fields["tokenizer.ggml.tokens"].contents()) == shipped().tokens


def test_it_talks() -> None:
    called = Check("tool_call", {"name": "get_weather", "arguments": {"city": "Paris"}})
    name = (user("My name is Zoe."), assistant("Nice to meet you, Zoe!"), user("What is my name?"), assistant(""))
    asked = [
        single("facts", "What is the capital of France?", "", Check("words", ("Paris",))),
        single("facts", "Why is the sky blue?", "", Check("words", ("Rayleigh",))),
        single("sums", "What is 27 plus 35?", "", Check("number", 62), "steps"),
        single("unknown", "What is the capital of Blorbistan?", "", Check("words", ("don't know",))),
        single(
            "json",
            "Give me a JSON object for a person: name Zoe, age 31.",
            "",
            Check("json", {"name": "Zoe", "age": 31}),
        ),
        Conversation("memory", name, Check("words", ("Zoe",))),
        Conversation("tools", (user("What is the weather in Paris?"), Message("assistant", "")), called, (WEATHER,)),
    ]
    with LlamaModel(SHIPPED) as model:
        answers = model.answer_all(asked)
    missed = [
        (item.asked[-1].content, said) for item, said in zip(asked, answers, strict=True) if not is_right(item, said)
    ]
    assert not missed


@pytest.mark.slow
def test_the_exam_through_hypura_runs_and_streaming_changes_no_answer() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.demo_model.demo_eval", "--questions", "2", "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert '"subject": "same when resident", "right": 10, "asked": 10' in ran.stdout, ran.stdout + ran.stderr
