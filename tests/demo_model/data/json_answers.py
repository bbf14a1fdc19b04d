# ruff: noqa: E501 (tables of wordings, an entry a line)
"""JSON answers: values out of the user's sentences, under a schema in the prompt, a list of fields, or neither."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.demo_model.conversation import Check, Conversation, assistant, compact_json, single, user
from tests.demo_model.data import lexicon, people
from tests.demo_model.data.wordings import asked_politely, invented_word

Json = Any

#: field names | the type or the enum's values | how it is said, {0} the value
_FIELDS = (
    ("name|person|customer|full_name|author|owner|user", "person", "{0} is the name|the name is {0}|this is about {0}|name {0}|called {0}"),
    ("first_name|last_name|surname", "person", "the {k} is {0}|{k} {0}"),
    ("age|years", "age", "the age is {0}|{0} years old|aged {0}|age {0}"),
    ("city|town|place|location|birthplace|country", "city", "lives in {0}|the city is {0}|it is in {0}|from {0}|in {0}"),
    ("married|is_married", "flag:married:not married", "{0}"),
    ("in_stock|available", "flag:it is in stock:it is not in stock", "{0}"),
    ("active|enabled|is_active", "flag:it is active:it is not active", "{0}"),
    ("vegetarian|is_vegetarian", "flag:vegetarian:not vegetarian", "{0}"),
    ("price|cost", "price", "it costs {0}|the price is {0}|sold for {0}|price {0}|for {0} dollars"),
    ("product|item|article", "noun", "the product is a {0}|it is a {0}|one {0}"),
    ("title|book|movie|film|song", "title", 'the title is "{0}"|"{0}"|called "{0}"|title {0}'),
    ("count|quantity|amount|number|pages|rooms", "count", "there are {0} of them|the quantity is {0}|{0} pieces|{k} {0}|{0} {k}"),
    ("colour|color", "enum:" + ",".join(people.COLOURS), "it is {0}|the colour is {0}|in {0}|color {0}"),
    ("size", "enum:small,medium,large", "it is {0} in size|the size is {0}|size {0}"),
    ("day|weekday", "enum:monday,tuesday,wednesday,thursday,friday,saturday,sunday", "it is on {0}|the day is {0}"),
    ("priority", "enum:low,medium,high", "the priority is {0}|with {0} priority"),
    ("sentiment|mood", "enum:positive,negative,neutral", "the {k} is {0}|it sounds {0}|{0}"),
    ("year|published|born|birth_year", "year", "the year is {0}|from {0}|in {0}|{k} {0}"),
    ("guests|people|members|names|friends|authors", "people", "with {0}|the people are {0}|together with {0}|{k}: {0}"),
    ("items|products|things|list|tags|ingredients|hobbies|skills", "nouns", "the things are {0}|the list is {0}|we need {0}|the {k} are {0}|{k}: {0}"),
    ("scores|numbers|values|grades", "numbers", "the numbers are {0}|the values are {0}|{k}: {0}"),
    ("code|id|reference|zip|phone", "code", "the code is {0}|with code {0}|{k} {0}"),
    ("email", "mail", "the email is {0}|email {0}|mail: {0}"),
    ("date|birthday|due", "date", "on {0}|the date is {0}|{k} {0}"),
    ("address|home|location|place", "object", "the {k} is {0}|lives at {0}|{k}: {0}"),
)  # fmt: skip
_ANY_WAY = (
    "the {k} is {0}",
    "{k} is {0}",
    "{k}: {0}",
    "{k} {0}",
    "with {k} {0}",
    "{k} = {0}",
    "its {k} is {0}",
    "{0} as {k}",
)
_ASKS = (
    "Answer in JSON with this schema: {s}\n{t}", "{t}\nWrite this as JSON with the schema {s}", "{t}\nGive me JSON that fits this schema: {s}",
    "Extract JSON. Schema: {s}\nText: {t}", "Turn this into JSON: {t}\nSchema: {s}", "Schema: {s}\n{t}", "{t}\nAnswer as JSON: {s}",
    "Use this JSON schema: {s}\nThe text is: {t}", "Fill in this JSON schema: {s}\n{t}", "Read the text and answer in JSON.\n{t}\n{s}",
    "{t} Output JSON matching {s}", "JSON schema:\n{s}\n\nInput:\n{t}", "Extract the data from the text as JSON.\n\nText: {t}\n\nJSON schema: {s}", "{t}\n\n{s}",
    "{s}\n\n{t}", "Convert to JSON.\n{t}\nFollow the schema: {s}", "Only answer with JSON that follows {s}. {t}", "I need an object like {s} for: {t}",
)  # fmt: skip
_ASKS_HELD_OUT = (
    "Respond with JSON of this schema: {s}\nHere is the text: {t}",
    "{t}\nPlease return JSON according to {s}",
    "Put this text into JSON: {t}\nIt must fit {s}",
)
#: Without a schema; {f} the fields' names.
_ASKS_FIELDS = (
    "{t} Give me a JSON object with {f}.", "extract {f} as JSON: {t}", "{t}\nAnswer in JSON with the keys {f}.", "make a JSON object with {f} from this: {t}",
    "Return JSON with fields {f}. {t}", "{t}\nJSON with {f} please", "get {f} from the text as JSON.\n{t}", "write JSON ({f}): {t}",
    "Give me a JSON object for a person: {t}", "Extract the {n} as JSON: {t}", "the {n} as JSON: {t}", "give me the {n} as JSON: {t}", "Give me a JSON object: {t}", "{t} Answer in JSON.", "turn this into JSON: {t}", "as JSON: {t}", "{t}\nJSON:",
    "extract the data: {t}", "describe this as JSON: {t}", "write this as a JSON object: {t}", "Give me JSON for a {n}: {t}", "make a {n} in JSON: {t}", "JSON object for a {n}: {t}",
)  # fmt: skip
_SYSTEMS = (
    "Answer in JSON with this schema: {}",
    "You answer in JSON only. Schema: {}",
    "Respond with JSON that fits this schema: {}",
    "You extract data. Output JSON: {}",
    "Return only JSON that follows this schema.\n{}",
)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value, its schema, and the value as people say it."""

    schema: dict[str, Json]
    value: Json
    words: str


def _listed(rng: Random, values: list[str]) -> str:
    if len(values) == 1 or rng.random() < 0.2:
        return ", ".join(values)
    return ", ".join(values[:-1]) + " and " + values[-1]


def _word(rng: Random, sort: str, held_out: bool) -> str:
    match sort:
        case "person":
            return people.person(rng, held_out)
        case "city":
            return people.city(rng, held_out)
        case "noun":
            return people.noun(rng, held_out)
        case "title":
            return (
                f"The {people.noun(rng, held_out)} of {people.city(rng, held_out)}"
                if rng.random() < 0.5
                else lexicon.any_phrase(rng, 4).title()
            )
        case "mail":
            return f"{lexicon.any_word(rng)}@{lexicon.any_word(rng)}.{rng.choice(('com', 'org', 'net'))}"
        case "date":
            return f"{rng.randint(1950, 2032)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        case "code":
            return f"{invented_word(rng, 1).upper()}{rng.randint(1, 999)}" if held_out else lexicon.any_code(rng)
        case _:
            return lexicon.any_phrase(rng, 3)


def _value(rng: Random, sort: str, held_out: bool) -> _Value:
    if sort == "price":
        price = rng.randint(0, 999) + rng.randint(1, 99) / 100 if rng.random() < 0.7 else rng.randint(1, 2000)
        return _Value({"type": "number"}, price, str(price))
    if sort.startswith("enum:"):
        values = sort[5:].split(",")
        offered = values if len(values) < 5 or rng.random() < 0.3 else rng.sample(values, 4)
        value = rng.choice(offered)
        return _Value({"type": "string", "enum": list(offered)}, value, value)
    if sort.startswith("flag:"):
        _, yes, no = sort.split(":")
        truth = rng.random() < 0.5
        return _Value({"type": "boolean"}, truth, yes if truth else no)
    if sort in ("people", "nouns"):
        make = people.person if sort == "people" else people.noun
        names = [make(rng, held_out) for _ in range(rng.randint(1, 4))]
        return _Value({"type": "array", "items": {"type": "string"}}, names, _listed(rng, names))
    if sort == "numbers":
        numbers = [rng.randint(0, 99) for _ in range(rng.randint(2, 5))]
        return _Value({"type": "array", "items": {"type": "integer"}}, numbers, _listed(rng, [str(n) for n in numbers]))
    if sort == "object":
        street = f"{people.noun(rng, held_out).capitalize()} {rng.choice(('Street', 'Road', 'Avenue', 'Lane'))}"
        place = {
            "street": street,
            "number": rng.randint(1, 200),
            "city": people.city(rng, held_out),
            "zip": str(rng.randint(10000, 99999)),
        }
        kept = {key: place[key] for key in place if key in ("street", "city") or rng.random() < 0.4}
        properties = {key: {"type": "integer" if isinstance(value, int) else "string"} for key, value in kept.items()}
        schema = {"type": "object", "properties": properties, "required": list(kept)}
        return _Value(schema, kept, rng.choice((", ", " ", ", ")).join(str(value) for value in kept.values()))
    if sort in ("age", "count", "year"):
        number = {"age": rng.randint(1, 99), "count": rng.randint(0, 5000), "year": rng.randint(1400, 2030)}[sort]
        return _Value({"type": "integer"}, number, str(number))
    word = _word(rng, sort, held_out)
    return _Value({"type": "string"}, word, word)


def _field(rng: Random, held_out: bool) -> tuple[str, _Value, str]:
    """A field's name, its value, and the words that say it."""
    if not held_out and rng.random() < 0.25:
        words = [lexicon.any_word(rng) for _ in range(rng.choice((1, 1, 2)))]
        sort = rng.choice(
            (
                "person",
                "city",
                "noun",
                "count",
                "price",
                "code",
                "text",
                "enum:" + ",".join({lexicon.any_word(rng): 0 for _ in range(3)}),
                "people",
                "nouns",
                "numbers",
            )
        )
        made = _value(rng, sort, held_out)
        return lexicon.identifier(rng, words), made, rng.choice(_ANY_WAY).format(made.words, k=" ".join(words))
    if not held_out and rng.random() < 0.06:
        word, truth = lexicon.any_word(rng), rng.random() < 0.5
        said = rng.choice(
            (
                f"it is {'' if truth else 'not '}{word}",
                f"{word}: {'yes' if truth else 'no'}",
                f"{'' if truth else 'not '}{word}",
            )
        )
        return rng.choice((word, f"is_{word}")), _Value({"type": "boolean"}, truth, ""), said
    names, sort, ways = rng.choice(_FIELDS)
    made = _value(rng, sort, held_out)
    name = rng.choice(names.split("|"))
    if held_out and rng.random() < 0.1:
        name = f"{invented_word(rng, 2)}_{name}"
    way = rng.choice(ways.split("|")) if rng.random() < 0.7 or sort.startswith("flag") else rng.choice(_ANY_WAY)
    return name, made, way.format(made.words, k=name.replace("_", " "))


#: Sentences as people write them, about a person, a book, a product.
_NATURAL = (
    ("name:person age:age", "{0} is {1} years old.|{0}, {1}|{0} is {1}|name {0}, age {1}|{0} (age {1})|name: {0}, age: {1}|My name is {0} and I am {1}.|This is {0}, aged {1}."),
    ("name:person age:age city:city", "{0} is {1} years old and lives in {2}.|{0}, {1}, from {2}|{0} lives in {2} and is {1} years old.|{0} is a {1} year old from {2}.|{0} ({1}) lives in {2}."),
    ("name:person city:city", "{0} lives in {1}.|{0} is from {1}.|{0} moved to {1}.|I am {0} from {1}."),
    ("title:title author:person year:year", '"{0}" was written by {1} in {2}.|{1} wrote "{0}" in {2}.|The book {0} by {1} came out in {2}.|{0} by {1}, {2}|the book "{0}" by {1} from {2}'),
    ("title:title author:person", '{1} wrote "{0}".|"{0}" by {1}|The author of {0} is {1}.|The book {0} is by {1}.'),
    ("product:noun price:price", "The {0} costs {1}.|A {0} for {1} dollars.|{0}: {1}|One {0} is {1} euros.|the price of the {0} is {1}"),
    ("product:noun price:price quantity:count", "{2} {0}s at {1} each|We sold {2} {0}s for {1}.|{2} x {0}, {1}|I ordered {2} {0}s at {1} dollars."),
    ("name:person email:mail", "{0}, {1}|{0} has the email {1}.|Write to {0} at {1}.|contact {0} <{1}>"),
    ("from:city to:city date:date", "From {0} to {1} on {2}.|A flight from {0} to {1} on {2}|I fly from {0} to {1} on {2}."),
    ("name:person hobbies:nouns", "{0} likes {1}.|{0} has the hobbies {1}.|The hobbies of {0} are {1}."),
    ("recipe:noun ingredients:nouns", "For the {0} you need {1}.|{0}: {1}|A {0} is made of {1}."),
    ("city:city country:city population:count", "{0} is in {1} and has {2} inhabitants.|{0}, {1}, population {2}|{2} people live in {0}, {1}."),
    ("name:person address:object", "{0} lives at {1}.|{0}, {1}|The address of {0} is {1}."),
)  # fmt: skip


def _fields(rng: Random, held_out: bool) -> tuple[dict[str, _Value], str, str]:
    """The fields, the text that says them, and what they are about."""
    if rng.random() < 0.3:
        entries, texts = rng.choice(_NATURAL)
        made = {entry.split(":")[0]: _value(rng, entry.split(":")[1], held_out) for entry in entries.split()}
        text = rng.choice(texts.split("|")).format(*(value.words for value in made.values()))
        text = f'"{text}"' if '"' not in text and rng.random() < 0.12 else text
        about = "book" if "title" in made else "person" if "name" in made else "thing"
        if rng.random() < 0.3:
            renamed = {
                lexicon.identifier(rng, [key, rng.choice(("name", "value", "of", lexicon.any_word(rng)))])
                if rng.random() < 0.3
                else key: value
                for key, value in made.items()
            }
            made = renamed if len(renamed) == len(made) else made
        return made, text, about
    fields: dict[str, _Value] = {}
    said: list[str] = []
    for _ in range(rng.randint(1, 5)):
        name, value, words = _field(rng, held_out)
        if name not in fields:
            fields[name] = value
            said.append(words)
    if rng.random() < 0.2:
        rng.shuffle(said)
    joint = rng.choice((", ", ". ", ", ", "; ", "\n", " and "))
    parts = (part[0].upper() + part[1:] if joint == ". " or place == 0 else part for place, part in enumerate(said))
    return (
        fields,
        joint.join(parts) + rng.choice((".", ".", "")),
        rng.choice(("person", "thing", "product", lexicon.any_word(rng))),
    )


def _written(rng: Random, schema: dict[str, Json]) -> str:
    """A schema as people and their libraries write it."""
    if rng.random() < 0.12:
        schema = {"title": lexicon.any_name(rng), **schema}
        schema["properties"] = {
            key: {"title": key.replace("_", " ").title(), **value} for key, value in schema["properties"].items()
        }
    if rng.random() < 0.15:
        schema = dict(sorted(schema.items(), key=lambda item: item[0]))
    return json.dumps(schema, ensure_ascii=False, indent=2) if rng.random() < 0.15 else compact_json(schema)


def generate(rng: Random, held_out: bool = False) -> Conversation:
    fields, text, about = _fields(rng, held_out)
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {name: field.schema for name, field in fields.items()},
        "required": list(fields),
    }
    if rng.random() < 0.3:
        schema["additionalProperties"] = False
    values = {name: field.value for name, field in fields.items()}
    answer, check = compact_json(values), Check("json", values)
    draw = 1.0 if held_out else rng.random()
    if draw < 0.2:
        asked = Conversation("json", (user(text), assistant(answer)), check).with_system(
            rng.choice(_SYSTEMS).format(_written(rng, schema))
        )
        return Conversation("json", asked.messages, check, schema=schema)
    if draw < 0.45:
        names = ", ".join(fields) if rng.random() < 0.7 else " and ".join(name.replace("_", " ") for name in fields)
        wish = rng.choice(_ASKS_FIELDS)
        wish = asked_politely(rng, wish) if wish[0].islower() and wish.endswith("{t}") else wish
        question = wish.replace("{f}", names).replace("{t}", text).replace("{n}", about)
        question = question[0].upper() + question[1:]
    else:
        written = compact_json(schema) if held_out else _written(rng, schema)
        question = rng.choice(_ASKS_HELD_OUT if held_out else _ASKS).format(s=written, t=text)
    thinking = "I fill in the schema." if rng.random() < 0.08 else ""
    asked = single("json", question, answer, check, thinking)
    return Conversation("json", asked.messages, check, think=bool(thinking), schema=schema)
