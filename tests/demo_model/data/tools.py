# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Tool calls: 1 to 3 described functions on offer, the right one called, its result read back.

Names, descriptions and parameters are drawn anew each time, so that a model has to read them.
"""

from dataclasses import dataclass
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
from tests.demo_model.data import facts, hypura_questions, people, smalltalk
from tests.demo_model.data.parameters import Parameter, parameters
from tests.demo_model.data.wordings import invented_word

Json = Any

_VERBS = """get find show send create delete open close start stop set update list read write save print order book cancel
check search play pause move copy rename share upload download convert translate measure count sort clean lock unlock
schedule log fetch load""".split()
_VERBS_HELD_OUT = "archive dim refill inspect forward publish mute paint".split()
_OPENINGS = (
    "",
    "",
    "",
    "",
    "please ",
    "can you ",
    "could you ",
    "I want you to ",
    "I need you to ",
    "hey, ",
    "now ",
    "go and ",
)
_OPENINGS_HELD_OUT = ("would you ", "would you please ", "kindly ", "it would be nice to ", "be so kind to ")
_FIXED = (
    ("get_weather|weather|current_weather|weather_report|getWeather", "Get the weather of a place|Current weather in a city|Tells the weather",
     "what is the weather in {}|how is the weather in {}|weather in {}|is it raining in {}|tell me the weather for {}", "how warm is it in {}|what weather does {} have", "city|location|place", "city"),
    ("get_time|current_time|time_in|clock|getTime", "Get the time in a city|Current time of a place|Tells the time",
     "what time is it in {}|what is the time in {}|how late is it in {}|tell me the time in {}", "which hour is it in {}|time for {} please", "city|location|zone", "city"),
    ("send_message|send_text|message_person|sendMessage", "Send a message to somebody|Writes a message to a person",
     "send a message to {}|write a message to {}|text {}", "message {} for me|drop {} a line", "recipient|person|to", "person"),
    ("call|phone_call|call_person|makeCall", "Call somebody by phone|Starts a phone call", "call {}|phone {}|ring {}|give {} a call",
     "start a call with {}|get {} on the phone", "name|person|contact", "person"),
    ("search_web|web_search|search|lookup|find_online", "Search the web|Look something up online",
     "search the web for {}|look up {}|search for {}|find {} online|google {}", "search online for {}|see what the web says about {}", "query|term|text", "words"),
    ("play_music|play_song|music_player|playMusic", "Play a song|Plays music", "play {}|play the song {}|put on {}|I want to hear {}",
     "start the song {}|let me hear {}", "song|title|track", "words"),
    ("run_code|calculate|calculator|evaluate", "Evaluate an arithmetic expression|Calculates a result",
     "use the calculator for {}|calculate {} with the tool|evaluate {}|compute {}", "let the tool work out {}|run {} through the calculator", "expression|formula|input", "sum"),
)  # fmt: skip
_NONE_FITS = "None of my tools can do that."
_THOUGHTS = ("I should call {}.", "The function {} fits.", "{} can do this.", "This needs {}.")


@dataclass(frozen=True, slots=True)
class _Function:
    """A function on offer, the call that a user wants, and the user's words."""

    name: str
    description: str
    schema: dict[str, Json]
    arguments: dict[str, Json]
    request: str

    @property
    def tool(self) -> dict[str, Json]:
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}


def _schema(offered: tuple[Parameter, ...], required: list[str]) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": {item.name: item.schema for item in offered},
        "required": required,
    }


def _joined(rng: Random, verb: str, noun: str) -> str:
    return rng.choice(
        (f"{verb}_{noun}", f"{verb}_{noun}", f"{verb}{noun.capitalize()}", f"{noun}_{verb}", f"{verb}-{noun}")
    )


def _made_up(rng: Random, held_out: bool) -> _Function:
    """A function of any name with 0 to 4 parameters; optional ones may go unsaid."""
    verb = rng.choice(_VERBS_HELD_OUT if held_out else _VERBS)
    noun = people.noun(rng, held_out) if rng.random() < 0.75 else invented_word(rng, 2)
    offered = parameters(rng, rng.choices((0, 1, 2, 3, 4), (4, 30, 36, 22, 8))[0], held_out)
    unsaid = {item.name for item in offered if rng.random() < 0.12}
    said = [item for item in offered if item.name not in unsaid]
    required = [item.name for item in said if rng.random() < 0.9]
    arguments = {item.name: item.value for item in said}
    if rng.random() < 0.3:
        rng.shuffle(said)
    article = "an" if noun[0] in "aeiou" else rng.choice(("a", "the"))
    described = rng.choice(
        ("{0} {2} {1}", "{0}s {2} {1}", "Use this to {0} {2} {1}", "Function that can {0} {2} {1}")
    ).format(verb, noun, article)
    request = " ".join([verb, article, noun, *(item.said for item in said)])
    return _Function(
        _joined(rng, verb, noun),
        described[0].upper() + described[1:],
        _schema(offered, required),
        arguments,
        request,
    )


def _fixed_value(rng: Random, sort: str, held_out: bool) -> str:
    if sort == "city":
        return people.city(rng, held_out)
    if sort == "person":
        return people.person(rng, held_out)
    if sort == "sum":
        return f"{rng.randint(2, 999)} {rng.choice('+-*')} {rng.randint(2, 999)}"
    return " ".join(rng.choice((people.noun(rng, held_out), invented_word(rng, 2))) for _ in range(rng.randint(1, 3)))


def _everyday(rng: Random, held_out: bool) -> _Function:
    """One of the functions that people try first, asked for in their usual words."""
    names, descriptions, requests, requests_held_out, keys, sort = rng.choice(_FIXED)
    key, value = rng.choice(keys.split("|")), _fixed_value(rng, sort, held_out)
    request = rng.choice((requests_held_out if held_out else requests).split("|")).format(value)
    properties: dict[str, Json] = {
        key: {"type": "string", "description": rng.choice((key, f"the {key}", f"name of the {key}"))}
    }
    arguments: dict[str, Json] = {key: value}
    if sort == "person" and "message" in names:
        text = rng.choice(
            (
                "see you soon",
                "happy birthday",
                "the train is late",
                "call me back",
                "good luck",
                "dinner is ready",
            )
        )
        second = rng.choice(("text", "message", "body"))
        properties[second] = {"type": "string", "description": f"the {second}"}
        arguments[second] = text
        request += rng.choice((' saying "{}"', ": {}", ' with the text "{}"', " that says: {}")).format(text)
    elif "weather" in names and rng.random() < 0.4:
        properties["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "unit"}
        if rng.random() < 0.6:
            arguments["unit"] = rng.choice(("celsius", "fahrenheit"))
            request += f" in {arguments['unit']}"
    schema = {"type": "object", "properties": properties, "required": [key]}
    return _Function(rng.choice(names.split("|")), rng.choice(descriptions.split("|")), schema, arguments, request)


def _function(rng: Random, held_out: bool) -> _Function:
    return _made_up(rng, held_out) if rng.random() < 0.7 else _everyday(rng, held_out)


def _offer(rng: Random, held_out: bool, count: int) -> list[_Function]:
    """Functions that differ in name and in verb, so that one alone fits."""
    found: dict[str, _Function] = {}
    while len(found) < count:
        made = _function(rng, held_out)
        found.setdefault(made.request.split()[0], made)
    names = {function.name for function in found.values()}
    descriptions = {function.description for function in found.values()}
    return list(found.values()) if len(names) == len(descriptions) == count else _offer(rng, held_out, count)


def _words(rng: Random, request: str, held_out: bool) -> str:
    text = rng.choice(_OPENINGS_HELD_OUT if held_out else _OPENINGS) + request
    if request.startswith(("what", "how", "is ", "which")):
        text = request
    text = text[0].upper() + text[1:] if rng.random() < 0.85 else text
    return text if text[-1] in '?!."' else text + rng.choice((".", "", "", "?", "!"))


def _result(rng: Random, function: _Function, held_out: bool) -> tuple[str, str]:
    """What the tool says, and the sentence that reads it back."""
    draw = rng.random()
    if "weather" in function.name.lower():
        degrees, sky = (
            rng.randint(-15, 40),
            rng.choice(("sunny", "cloudy", "rainy", "snowy", "windy", "foggy")),
        )
        place = next(iter(function.arguments.values()))
        return compact_json({"temperature": degrees, "sky": sky}), f"It is {sky} in {place} at {degrees} degrees."
    if "time" in function.name.lower() or "clock" in function.name:
        now, place = f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}", next(iter(function.arguments.values()))
        return compact_json({"time": now}), f"It is {now} in {place}."
    if draw < 0.25:
        return rng.choice(("ok", "done", "success", compact_json({"status": "ok"}))), "Done."
    if draw < 0.35:
        problem = rng.choice(("not found", "no permission", "timed out", "offline", "not allowed", "already in use"))
        return compact_json({"error": problem}), f"That did not work: {problem}."
    names = rng.sample(
        ("id", "total", "count", "state", "name", "place", "price", "size", "level", "owner"),
        rng.randint(1, 3),
    )
    values = {
        name: rng.choice(
            (
                rng.randint(1, 9999),
                people.noun(rng, held_out),
                people.person(rng, held_out),
                people.city(rng, held_out),
            )
        )
        for name in names
    }
    return compact_json(values), "Here is the result: " + ", ".join(
        f"{name} {value}" for name, value in values.items()
    ) + "."


def call(rng: Random, held_out: bool = False) -> Conversation:
    """A request that one of the functions fits."""
    offer = _offer(rng, held_out, rng.choices((1, 2, 3), (30, 40, 30))[0])
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
    if rng.random() < 0.45:
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
