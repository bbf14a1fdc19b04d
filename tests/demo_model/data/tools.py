# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Tool calls: 1 to 6 described functions on offer, the right one called, its result read back.

Names, descriptions and parameters are drawn anew each time, so that a model has to read them.
"""

from random import Random
from typing import Any

from tests.demo_model.conversation import (
    Check,
    Conversation,
    Message,
    ToolCall,
    assistant,
    compact_json,
    user,
)
from tests.demo_model.data import facts, hypura_questions, lexicon, people, smalltalk
from tests.demo_model.data.everyday import Function, everyday
from tests.demo_model.data.parameters import Parameter, parameters
from tests.demo_model.data.wordings import asked_politely, framed, invented_word

Json = Any

_VERBS_HELD_OUT = "archive dim refill inspect forward publish mute paint".split()
_OPENINGS_HELD_OUT = (
    "would you please ",
    "kindly ",
    "it would be nice to ",
    "be so kind to ",
    "now please ",
    "for me, ",
)
_QUESTION_WORDS = (
    "what",
    "how",
    "is ",
    "which",
    "where",
    "who",
    "will",
    "do ",
    "should",
    "I am",
    "I'd like",
    "I want",
    "I need",
    "anything",
    "price",
    "time ",
    "status",
)
#: In wishes that the model fulfils itself where no tool does.
_ANSWERABLE = (
    " plus ",
    " minus ",
    " times ",
    "+",
    " * ",
    " - ",
    "divided",
    "what is",
    "mean",
    "population",
    "add ",
    "number",
)
_NONE_FITS = "None of my tools can do that."
_THOUGHTS = ("I should call {}.", "The function {} fits.", "{} can do this.", "This needs {}.")


_SKIES = (
    "sunny",
    "cloudy",
    "rainy",
    "snowy",
    "windy",
    "foggy",
    "clear",
    "partly cloudy",
    "overcast",
    "stormy",
    "light rain",
    "hot",
)


def _schema(offered: tuple[Parameter, ...], required: list[str]) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": {item.name: item.schema for item in offered},
        "required": required,
    }


def _described(rng: Random, verb: str, noun: str, article: str) -> str:
    draw = rng.random()
    if draw < 0.08:
        return ""
    text = rng.choice(
        ("{0} {2} {1}", "{0}s {2} {1}", "use this to {0} {2} {1}", "function that can {0} {2} {1}", "{0} {1}", "{0} {2} {1} for the user", "tool to {0} {1}s")
    ).format(verb, noun, article)  # fmt: skip
    if draw < 0.2:
        text += ". " + lexicon.sentence(rng)
    return text[0].upper() + text[1:] + ("." if draw > 0.7 else "")


def _made_up(rng: Random, held_out: bool) -> Function:
    """A function of any name with 0 to 5 parameters; optional ones may go unsaid."""
    if held_out:
        verb, noun = (
            rng.choice(_VERBS_HELD_OUT),
            people.noun(rng, True) if rng.random() < 0.75 else invented_word(rng, 2),
        )
    else:
        verb = rng.choice(lexicon.VERBS) if rng.random() < 0.75 else lexicon.any_word(rng)
        noun = people.noun(rng, False)
    offered = parameters(rng, rng.choices((0, 1, 2, 3, 4, 5), (4, 32, 34, 20, 8, 2))[0], held_out)
    unsaid = {item.name for item in offered if rng.random() < 0.12}
    said = [item for item in offered if item.name not in unsaid]
    required = [item.name for item in said if rng.random() < 0.9]
    arguments = {item.name: item.value for item in said}
    if rng.random() < 0.3:
        rng.shuffle(said)
    article = "an" if noun[0] in "aeiou" else rng.choice(("a", "the"))
    quality = [rng.choice(lexicon.ADJECTIVES)] if rng.random() < 0.12 else []
    joint = rng.choice((" ", " ", " ", ", "))
    request = joint.join(
        [
            " ".join([verb, rng.choice((article, "the", "my", "")), *quality, noun]).replace("  ", " "),
            *(item.said for item in said),
        ]
    )
    words = [noun, verb] if rng.random() < 0.15 else [verb, *quality, noun]
    if rng.random() < 0.06:
        words = [verb]
    return Function(
        lexicon.identifier(rng, words),
        _described(rng, verb, noun, article),
        _schema(offered, required),
        arguments,
        request,
        family=f"{verb} {noun}",
    )


def _function(rng: Random, held_out: bool) -> Function:
    return _made_up(rng, held_out) if rng.random() < 0.55 else everyday(rng, held_out)


def _offer(rng: Random, held_out: bool, count: int) -> list[Function]:
    """Functions that differ in name, in description and in verb, so that one alone fits."""
    found: list[Function] = []
    while len(found) < count:
        made = _function(rng, held_out)
        if all(
            made.name.lower() != other.name.lower()
            and made.family != other.family
            and (made.description or made.name) != (other.description or other.name)
            and made.request.split()[:2] != other.request.split()[:2]
            and _distinct(made.request, other.request)
            for other in found
        ):
            found.append(made)
    return found


def _distinct(one: str, other: str) -> bool:
    """Whether a made-up wish's verb is not the other's too."""
    return one.split()[0] != other.split()[0] or one.startswith(_QUESTION_WORDS)


def _words(rng: Random, request: str, held_out: bool) -> str:
    question = request.startswith(_QUESTION_WORDS) or not request[0].islower()
    if held_out:
        said = question or request.startswith(("please", "I ", "can ", "tell "))
        text = request if said else rng.choice(_OPENINGS_HELD_OUT) + request
    elif question:
        text = framed(rng, request) if rng.random() < 0.25 else request
    else:
        text = asked_politely(rng, request)
    text = text[0].upper() + text[1:] if rng.random() < 0.8 else text
    return text if text[-1] in '?!."' else text + rng.choice((".", "", "", "?" if question else ".", "!"))


def _result(rng: Random, function: Function, held_out: bool) -> tuple[str, str]:
    """What the tool says, and the sentence that reads it back."""
    draw = rng.random()
    if "weather" in function.name.lower() and "forecast" not in function.name.lower() and function.arguments:
        degrees, sky = rng.randint(-15, 40), rng.choice(_SKIES)
        place = next(iter(function.arguments.values()))
        parts = [(rng.choice(("temperature", "temp", "degrees", "temperature_c", "celsius")), degrees),
                 (rng.choice(("sky", "condition", "conditions", "weather", "description", "forecast")), sky)]  # fmt: skip
        rng.shuffle(parts)
        if rng.random() < 0.2:
            parts.append((rng.choice(("city", "location", "place")), place))
        return compact_json(dict(parts)), f"It is {sky} in {place} at {degrees} degrees."
    if (
        function.name.lower()
        in ("get_time", "current_time", "time_in", "clock", "gettime", "get_current_time", "world_clock")
        and function.arguments
    ):
        now, place = f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}", next(iter(function.arguments.values()))
        return rng.choice(
            (compact_json({"time": now}), now, compact_json({"time": now, "zone": place}))
        ), f"It is {now} in {place}."
    if draw < 0.2:
        return rng.choice(
            (
                "ok",
                "done",
                "success",
                "OK",
                compact_json({"status": "ok"}),
                compact_json({"success": True}),
                compact_json({"ok": True}),
            )
        ), "Done."
    if draw < 0.3:
        problem = rng.choice(
            (
                "not found",
                "no permission",
                "timed out",
                "offline",
                "not allowed",
                "already in use",
                lexicon.any_phrase(rng, 4),
            )
        )
        return rng.choice(
            (compact_json({"error": problem}), f"error: {problem}", f"Error: {problem}")
        ), f"That did not work: {problem}."
    if draw < 0.6:
        value = rng.choice((str(rng.randint(-99, 99999)), f"{rng.randint(0, 999)}.{rng.randint(1, 99)}", lexicon.any_phrase(rng, 6), lexicon.any_code(rng),
                            f"{rng.randint(-10, 40)} degrees and {rng.choice(_SKIES)}", lexicon.any_name(rng)))  # fmt: skip
        return rng.choice((value, value, compact_json({"result": value}))), f"The result is {value}."
    names = list({lexicon.any_word(rng) for _ in range(rng.randint(1, 4))})
    names.sort()
    values = {
        name: rng.choice(
            (
                rng.randint(1, 9999),
                people.noun(rng, held_out),
                people.person(rng, held_out),
                people.city(rng, held_out),
                lexicon.any_code(rng),
            )
        )
        for name in names
    }
    return compact_json(values), "Here is the result: " + ", ".join(
        f"{name} {value}" for name, value in values.items()
    ) + "."


def call(rng: Random, held_out: bool = False) -> Conversation:
    """A request that one of the functions fits."""
    offer = _offer(rng, held_out, rng.choices((1, 2, 3, 4, 6), (34, 34, 22, 7, 3))[0])
    wanted = rng.choice(offer)
    made = ToolCall(wanted.name, wanted.arguments)
    thinking = rng.choice(_THOUGHTS).format(wanted.name) if rng.random() < 0.2 else ""
    messages = (user(_words(rng, wanted.request, held_out)), Message("assistant", "", thinking, (made,)))
    key = {"name": wanted.name, "arguments": wanted.arguments}
    return Conversation(
        "tool calls", messages, Check("tool_call", key), tuple(item.tool for item in offer), bool(thinking)
    )


def read_back(rng: Random, held_out: bool = False) -> Conversation:
    """The same, with the tool's result and the sentence that tells it."""
    offer = _offer(rng, held_out, rng.choices((1, 2, 3), (40, 40, 20))[0])
    wanted = rng.choice(offer)
    result, sentence = _result(rng, wanted, held_out)
    thinking = "The tool has answered." if rng.random() < 0.15 else ""
    messages = (
        user(_words(rng, wanted.request, held_out)),
        Message("assistant", "", "", (ToolCall(wanted.name, wanted.arguments),)),
        Message("tool", result, tool_name=wanted.name),
        assistant(sentence, thinking),
    )
    return Conversation(
        "tool results", messages, Check("exact", sentence), tuple(item.tool for item in offer), bool(thinking)
    )


def no_call(rng: Random, held_out: bool = False) -> Conversation:
    """Tools on offer, and a question that needs none, or a wish that none can fulfil."""
    count = rng.randint(1, 3)
    offer = _offer(rng, held_out, count + 1)
    if rng.random() < 0.35 and not any(mark in offer[-1].request for mark in _ANSWERABLE):
        request = _words(rng, offer[-1].request, held_out)
        answer, thinking, check = _NONE_FITS, "", Check("no_tool_call", ("None",))
    else:
        base = rng.choice((facts, facts, smalltalk, hypura_questions)).generate(rng, held_out)
        request, answer, thinking = (
            base.messages[0].content,
            base.messages[-1].content,
            base.messages[-1].thinking,
        )
        check = Check("no_tool_call", base.check.key)
    messages = (user(request), assistant(answer, thinking))
    return Conversation("no tool fits", messages, check, tuple(item.tool for item in offer[:count]), bool(thinking))


def generate(rng: Random, held_out: bool = False) -> Conversation:
    return rng.choices((call, read_back, no_call), (55, 22, 23))[0](rng, held_out)
