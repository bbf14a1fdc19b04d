# ruff: noqa: E501 (tables of wordings, an entry a line)
"""JSON answers to a schema in the prompt, with values out of the user's sentences."""

from random import Random
from typing import Any

from tests.demo_model.conversation import Check, Conversation, assistant, compact_json, single, user
from tests.demo_model.data import people
from tests.demo_model.data.wordings import invented_word

Json = Any

#: field names | the type or the enum's values | how it is said, {0} the value
_FIELDS = (
    ("name|person|customer|full_name", "person", "{0} is the name|the name is {0}|this is about {0}"),
    ("age|years", "age", "the age is {0}|{0} years old|aged {0}"),
    ("city|town|place|location", "city", "lives in {0}|the city is {0}|it is in {0}"),
    ("married|is_married", "flag:married:not married", "{0}"),
    ("in_stock|available", "flag:it is in stock:it is not in stock", "{0}"),
    ("active|enabled", "flag:it is active:it is not active", "{0}"),
    ("price|cost", "price", "it costs {0}|the price is {0}|sold for {0}"),
    ("product|item|article", "noun", "the product is a {0}|it is a {0}|one {0}"),
    ("count|quantity|amount", "count", "there are {0} of them|the quantity is {0}|{0} pieces"),
    ("colour|color", "enum:" + ",".join(people.COLOURS), "it is {0}|the colour is {0}|in {0}"),
    ("size", "enum:small,medium,large", "it is {0} in size|the size is {0}"),
    ("day|weekday", "enum:monday,tuesday,wednesday,thursday,friday,saturday,sunday", "it is on {0}|the day is {0}"),
    ("priority", "enum:low,medium,high", "the priority is {0}|with {0} priority"),
    ("year", "year", "the year is {0}|from {0}"),
    ("guests|people|members|names", "people", "with {0}|the people are {0}|together with {0}"),
    ("items|products|things|list", "nouns", "the things are {0}|the list is {0}|we need {0}"),
    ("scores|numbers|values", "numbers", "the numbers are {0}|the values are {0}"),
    ("code|id|reference", "code", "the code is {0}|with code {0}"),
)  # fmt: skip
_ASKS = (
    "Answer in JSON with this schema: {s}\n{t}", "{t}\nWrite this as JSON with the schema {s}", "{t}\nGive me JSON that fits this schema: {s}",
    "Extract JSON. Schema: {s}\nText: {t}", "Turn this into JSON: {t}\nSchema: {s}", "Schema: {s}\n{t}", "{t}\nAnswer as JSON: {s}",
    "Use this JSON schema: {s}\nThe text is: {t}", "Fill in this JSON schema: {s}\n{t}", "Read the text and answer in JSON.\n{t}\n{s}",
)  # fmt: skip
_ASKS_HELD_OUT = (
    "Respond with JSON of this schema: {s}\nHere is the text: {t}",
    "{t}\nPlease return JSON according to {s}",
    "Put this text into JSON: {t}\nIt must fit {s}",
)
_SYSTEMS = (
    "Answer in JSON with this schema: {}",
    "You answer in JSON only. Schema: {}",
    "Respond with JSON that fits this schema: {}",
)


def _listed(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]


def _value(rng: Random, sort: str, held_out: bool) -> tuple[dict[str, Json], Json, str]:
    """Schema, value, and the value as people say it."""
    if sort == "person":
        value = people.person(rng, held_out) if rng.random() < 0.7 else invented_word(rng, 2).capitalize()
        return {"type": "string"}, value, value
    if sort == "city":
        value = people.city(rng, held_out) if rng.random() < 0.7 else invented_word(rng, 3).capitalize()
        return {"type": "string"}, value, value
    if sort == "noun":
        value = people.noun(rng, held_out)
        return {"type": "string"}, value, value
    if sort == "code":
        value = f"{invented_word(rng, 1).upper()}{rng.randint(1, 999)}"
        return {"type": "string"}, value, value
    if sort == "price":
        price = rng.randint(1, 999) + rng.randint(1, 9) / 10
        return {"type": "number"}, price, str(price)
    if sort.startswith("enum:"):
        values = sort[5:].split(",")
        offered = values if len(values) < 5 else rng.sample(values, 4)
        value = rng.choice(offered)
        return {"type": "string", "enum": list(offered)}, value, value
    if sort.startswith("flag:"):
        _, yes, no = sort.split(":")
        truth = rng.random() < 0.5
        return {"type": "boolean"}, truth, yes if truth else no
    if sort == "people":
        names = [people.person(rng, held_out) for _ in range(rng.randint(1, 4))]
        return {"type": "array", "items": {"type": "string"}}, names, _listed(names)
    if sort == "nouns":
        nouns = [people.noun(rng, held_out) for _ in range(rng.randint(1, 4))]
        return {"type": "array", "items": {"type": "string"}}, nouns, _listed(nouns)
    if sort == "numbers":
        numbers = [rng.randint(0, 99) for _ in range(rng.randint(2, 5))]
        return (
            {"type": "array", "items": {"type": "integer"}},
            numbers,
            _listed([str(number) for number in numbers]),
        )
    number = {"age": rng.randint(1, 99), "count": rng.randint(1, 500), "year": rng.randint(1900, 2030)}[sort]
    return {"type": "integer"}, number, str(number)


def generate(rng: Random, held_out: bool = False) -> Conversation:
    properties: dict[str, Json] = {}
    values: dict[str, Json] = {}
    said: list[str] = []
    for names, sort, ways in rng.sample(_FIELDS, rng.randint(1, 5)):
        schema, value, words = _value(rng, sort, held_out)
        name = rng.choice(names.split("|")) if rng.random() < 0.9 else f"{invented_word(rng, 2)}_{names.split('|')[0]}"
        properties[name], values[name] = schema, value
        said.append(rng.choice(ways.split("|")).format(words))
    if rng.random() < 0.3:
        rng.shuffle(said)
    joint = rng.choice((", ", ". ", ", "))
    text = (
        joint.join(
            part[0].upper() + part[1:] if joint == ". " or place == 0 else part for place, part in enumerate(said)
        )
        + "."
    )
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    if rng.random() < 0.15:
        schema["additionalProperties"] = False
    schema_text, answer = compact_json(schema), compact_json(values)
    check = Check("json", values)
    if not held_out and rng.random() < 0.2:
        thinking = ""
        asked = Conversation("json", (user(text), assistant(answer)), check).with_system(
            rng.choice(_SYSTEMS).format(schema_text)
        )
    else:
        question = rng.choice(_ASKS_HELD_OUT if held_out else _ASKS).format(s=schema_text, t=text)
        thinking = "I fill in the schema." if rng.random() < 0.1 else ""
        asked = single("json", question, answer, check, thinking)
    return Conversation(asked.kind, asked.messages, check, think=bool(thinking), schema=schema)
