"""The generated data: right by its own graders, reproducible, and apart from what is held out."""

import json
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest

from tests.demo_model.answering import parsed
from tests.demo_model.conversation import Answer, Conversation, Text, ToolCall
from tests.demo_model.data import arithmetic, facts, infill, knowledge, sequences, tools
from tests.demo_model.data.mixture import MIXTURE, documents
from tests.demo_model.data.singles import read_facts
from tests.demo_model.data.world import COUNTRIES
from tests.demo_model.exam import SUBJECTS, examine, questions
from tests.demo_model.graders import fits_schema, is_right, is_valid_json
from tests.demo_model.template import render, render_whole

SAMPLES = 400


def written(conversation: Conversation) -> str:
    """What a model that answers rightly writes after the prompt."""
    whole = render_whole(conversation)
    prompt = render(conversation.asked, conversation.tools, think=conversation.think)
    assert whole.startswith(prompt)
    return whole[len(prompt) :].removesuffix("\n").removesuffix("<|im_end|>")


@pytest.mark.parametrize("subject", list(SUBJECTS))
@pytest.mark.parametrize("held_out", [False, True])
def test_a_right_answer_passes_its_own_check(subject: str, held_out: bool) -> None:
    rng = Random(7)
    for _ in range(SAMPLES):
        made = SUBJECTS[subject](rng, held_out)
        assert is_right(made, parsed(written(made))), made


@pytest.mark.parametrize("subject", list(SUBJECTS))
def test_thinking_is_written_when_and_only_when_it_is_on(subject: str) -> None:
    rng = Random(8)
    for _ in range(SAMPLES):
        made = SUBJECTS[subject](rng, False)
        assert made.think == bool(made.messages[-1].thinking)
        assert ("<think>" in written(made)) == made.think


def test_every_share_of_the_mixture_is_made_and_repeats_with_its_seed() -> None:
    first, second = (list(islice(documents(3), 3000)) for _ in range(2))
    assert first == second
    assert all(weight > 0 for _, weight in MIXTURE.values())
    assert len({item.kind for item in first}) >= len(MIXTURE)


def test_facts_are_asked_in_wordings_that_training_never_sees() -> None:
    rng = Random(1)

    def asked(held_out: bool, count: int) -> set[str]:
        made = (facts.generate(rng, held_out).messages[0].content for _ in range(count))
        return {"".join(letter for letter in text.lower() if letter.isalnum()) for text in made}

    seen, unseen = asked(False, 20_000), asked(True, 3_000)
    # The few that coincide differ in frames but not in letters, such as "Remind me: ..." and "Remind me ...".
    assert len(seen & unseen) < 0.01 * len(unseen)


def test_every_fact_has_many_wordings() -> None:
    fact = facts.all_facts()[0]
    rng = Random(1)
    assert len({facts.as_conversation(rng, fact, "facts", False).messages[0].content for _ in range(2000)}) > 300
    assert len({facts.as_conversation(rng, fact, "facts", True).messages[0].content for _ in range(2000)}) > 60


def test_the_tables_are_whole() -> None:
    assert len(COUNTRIES) == 197
    assert len(facts.all_facts()) > 1200
    assert all(
        fact.words and all(word in fact.answer or word.capitalize() in fact.answer for word in fact.words)
        for fact in facts.all_facts()
    )
    assert knowledge.ELEMENT_TABLE["iron"] == ("Fe", 26) and knowledge.ELEMENT_TABLE["xenon"] == ("Xe", 54)


def test_the_sky_is_blue_in_two_sentences() -> None:
    answer = next(
        fact.answer for fact in read_facts(knowledge.SINGLES) if "why is the sky blue" in fact.asked.questions
    )
    assert answer.count(". ") == 1 and answer.endswith(".") and "Rayleigh scattering" in answer


def test_a_fact_of_the_wrong_form_is_refused() -> None:
    with pytest.raises(ValueError, match="6 columns, this line has 2"):
        read_facts("who|what")


@pytest.mark.parametrize("make", [arithmetic.two_digit_sum, arithmetic.generate])
def test_held_out_numbers_are_never_trained_on(make: Callable[[Random, bool], Conversation]) -> None:
    rng = Random(2)

    def results(held_out: bool) -> set[str]:
        return {
            made.messages[-1].thinking
            for made in (make(rng, held_out) for _ in range(4000))
            if made.messages[-1].thinking
        }

    assert not results(False) & results(True)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (47, 85), (99, 99), (5, 996), (999, 999)])
def test_the_steps_end_in_the_result(one: int, other: int) -> None:
    assert arithmetic.sum_steps(one, other).endswith(f"result: {one + other}")
    assert arithmetic.difference_steps(one, other).endswith(f"result: {one - other}")
    assert f"so far {str(one + other)[-1]}" in arithmetic.sum_steps(one, other)


def test_a_step_by_step_product() -> None:
    assert arithmetic.product_steps(47, 6).splitlines() == [
        "47 * 6",
        "ones: 7 * 6 = 42, write 2, carry 4, so far 2",
        "tens: 4 * 6 = 24, plus 4 is 28, write 8, carry 2, so far 82",
        "carry 2 in front: 282",
        "result: 282",
    ]


def test_one_tool_alone_fits_and_its_arguments_stand_in_the_request() -> None:
    rng = Random(4)
    for _ in range(SAMPLES):
        made = tools.call(rng)
        (call,) = made.messages[-1].tool_calls
        offered = {tool["function"]["name"]: tool["function"] for tool in made.tools}
        assert len(offered) == len(made.tools)
        assert fits_schema(dict(call.arguments), offered[call.name]["parameters"])
        request = made.messages[0].content.lower()
        said = [value for value in call.arguments.values() if not isinstance(value, bool | list | dict)]
        assert all(str(value).lower() in request for value in said), made


def test_tools_are_drawn_anew() -> None:
    rng = Random(5)
    names = {tool["function"]["name"] for _ in range(1000) for tool in tools.call(rng).tools}
    assert len(names) > 900


def test_infill_gives_the_passage_back() -> None:
    rng = Random(6)
    for _ in range(SAMPLES):
        state = rng.getstate()
        whole = infill.passage(rng)
        rng.setstate(state)
        text = infill.text(rng).text
        head, middle = text.removesuffix("<|endoftext|>").split("<|fim_middle|>")
        prefix, suffix = head.removeprefix("<|fim_prefix|>").split("<|fim_suffix|>")
        assert middle and prefix + middle + suffix == whole and "<|" not in whole


def test_no_document_holds_a_mark_by_accident() -> None:
    for item in islice(documents(11), 2000):
        if not isinstance(item, Text):
            assert not any("<|" in message.content or "<think>" in message.content for message in item.messages)


def test_sequences_cover_all_their_tasks() -> None:
    rng = Random(9)
    asked = " ".join(sequences.generate(rng).messages[0].content.lower() for _ in range(500))
    assert all(word in asked for word in ("count", "sort", "repeat", "spell", "backwards", "largest"))


def test_the_exam_repeats_and_scores_a_perfect_and_a_silent_pupil() -> None:
    assert questions("json", 5) == questions("json", 5)
    subjects = ["facts", "two-digit sums", "tool calls", "json"]
    perfect = examine(lambda asked: [parsed(written(item)) for item in asked], subjects, 20)
    assert perfect.passed and not perfect.misses and all(score.share == 1 for score in perfect.scores)
    silent = examine(lambda asked: [Answer("") for _ in asked], subjects, 20)
    assert not silent.passed and len(silent.misses) == 80 and "0.0%" in silent.table()


def test_parsing_what_a_model_writes() -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {"a": [1, "x"]}}\n</tool_call>'
    assert parsed(f"<think>\nhm\n</think>\n\n{call}") == Answer("", (ToolCall("f", {"a": [1, "x"]}),), True, "hm")
    assert not parsed("<tool_call>\n{broken}\n</tool_call>").well_formed
    assert not parsed('<tool_call>\n{"name": 3, "arguments": {}}\n</tool_call>').well_formed
    assert not parsed('<tool_call>\n{"name": "f"').well_formed
    assert parsed("plain").text == "plain"


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"n": 1, "s": ["a"], "e": "x"}, True),
        ({"n": True, "s": ["a"], "e": "x"}, False),
        ({"n": 1, "s": [2], "e": "x"}, False),
        ({"n": 1, "s": [], "e": "z"}, False),
        ({"n": 1, "s": []}, False),
        ({"n": 1, "s": [], "e": "x", "more": 1}, False),
        ([], False),
    ],
)
def test_schemas(value: object, fits: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "s": {"type": "array", "items": {"type": "string"}},
            "e": {"type": "string", "enum": ["x", "y"]},
        },
        "required": ["n", "s", "e"],
    }
    assert fits_schema(value, schema) == fits
    made = next(item for item in questions("json", 1))
    assert is_valid_json(made, Answer(made.messages[-1].content))
    assert not is_valid_json(made, Answer(json.dumps(value)))
