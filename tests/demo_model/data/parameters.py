# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Parameters of made-up functions: a JSON schema, a value, and how a user says the value."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.demo_model.data import lexicon, people
from tests.demo_model.data.wordings import invented_word

Json = Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter with a value for one call, and the user's words for it, such as "in Paris"."""

    name: str
    schema: dict[str, Json]
    value: Json
    said: str


_CHOICES = (
    ("priority", ("low", "medium", "high"), "with {} priority|at {} priority"),
    ("unit", ("celsius", "fahrenheit"), "in {}"),
    ("size", ("small", "medium", "large"), "in size {}|{} in size"),
    ("colour", tuple(people.COLOURS), "in {}|coloured {}"),
    ("format", ("pdf", "html", "text", "csv"), "as {}|in {} format"),
    ("speed", ("slow", "normal", "fast"), "at {} speed"),
    ("day", ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), "on {}"),
    ("language", ("english", "german", "french", "spanish", "italian"), "in {}"),
    ("mode", ("auto", "manual", "eco", "turbo"), "in {} mode"),
)
_INTEGERS = (
    ("count", "{} times", "how many times"), ("minutes", "for {} minutes", "duration in minutes"),
    ("hours", "for {} hours", "duration in hours"), ("quantity", "with quantity {}", "how many"),
    ("level", "at level {}", "level"), ("page", "on page {}", "page number"), ("year", "from the year {}", "year"),
    ("room", "in room {}", "number of the room"), ("limit", "with a limit of {}", "largest number of results"),
    ("width", "with width {}", "width"), ("number", "with number {}", "number"), ("seconds", "after {} seconds", "delay in seconds"),
)  # fmt: skip
_NUMBERS = (
    ("price", "for {} euros|at a price of {}", "price in euros"), ("temperature", "at {} degrees|with temperature {}", "temperature in degrees"),
    ("weight", "with a weight of {}", "weight in kilograms"), ("distance", "over a distance of {}", "distance in kilometres"),
    ("amount", "with amount {}|with an amount of {}", "amount"), ("ratio", "with ratio {}", "ratio"),
)  # fmt: skip
_BOOLEANS = (
    ("urgent", "and it is urgent", "and it is not urgent"), ("loud", "and loud", "and not loud"), ("private", "and keep it private", "and do not keep it private"),
    ("notify", "and notify me", "and do not notify me"), ("repeat", "and repeat it", "and do not repeat it"), ("force", "with force", "without force"),
    ("verbose", "with verbose on", "with verbose off"), ("recursive", "with recursive on", "with recursive off"), ("draft", "as a draft", "not as a draft"),
)  # fmt: skip
_STRINGS = (
    (("city", "location", "place", "town"), "in {}|for {}", "name of the city", "city"),
    (("person", "name", "recipient", "contact", "user"), "to {}|for {}", "name of the person", "person"),
    (("title", "subject", "topic", "label"), 'titled "{}"|with the title "{}"|named "{}"', "title", "words"),
    (
        ("text", "message", "content", "note", "body"),
        'saying "{}"|with the text "{}"|that says "{}"',
        "text",
        "words",
    ),
    (("query", "keyword", "term", "search"), 'for "{}"|about "{}"', "what to look for", "words"),
    (("code", "id", "key", "reference"), "with code {0}|with id {0}|with key {0}", "identifier", "code"),
    (("file", "path", "filename"), "in the file {}|from {}", "name of the file", "file"),
    (("date",), "on {}", "date", "date"),
    (("time",), "at {}", "time of day", "time"),
)
_SENTENCE = "see you soon|happy birthday|the train is late|call me back|dinner is ready|good luck|we need milk|thank you all|the door is open|bring the keys".split(
    "|"
)


def _text_value(rng: Random, sort: str, held_out: bool) -> str:
    if sort == "city":
        return people.city(rng, held_out) if rng.random() < 0.6 else lexicon.any_name(rng)
    if sort == "person":
        return people.person(rng, held_out) if rng.random() < 0.6 else lexicon.any_name(rng)
    if sort == "code":
        return lexicon.any_code(rng)
    if sort == "file":
        return f"{people.noun(rng, held_out)}.{rng.choice(('txt', 'csv', 'md', 'json', 'py'))}"
    if sort == "date":
        return f"{rng.randint(2020, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    if sort == "time":
        return f"{rng.randint(0, 23)}:{rng.choice((0, 15, 30, 45)):02}"
    if rng.random() < 0.3:
        return rng.choice(_SENTENCE)
    if not held_out and rng.random() < 0.2:
        return lexicon.sentence(rng)
    return " ".join(
        people.noun(rng, held_out) if rng.random() < 0.5 else invented_word(rng, 2) for _ in range(rng.randint(1, 4))
    )


def _string(rng: Random, held_out: bool) -> Parameter:
    names, said, description, sort = rng.choice(_STRINGS)
    value = _text_value(rng, sort, held_out)
    return Parameter(
        rng.choice(names),
        {"type": "string", "description": description},
        value,
        rng.choice(said.split("|")).format(value),
    )


def _integer(rng: Random, held_out: bool) -> Parameter:
    name, said, description = rng.choice(_INTEGERS)
    value = rng.randint(0, 10 ** rng.randint(1, 5))
    return Parameter(name, {"type": "integer", "description": description}, value, said.format(value))


def _number(rng: Random, held_out: bool) -> Parameter:
    name, said, description = rng.choice(_NUMBERS)
    value: float = rng.randint(1, 999) + rng.randint(1, 9) / 10 if rng.random() < 0.6 else rng.randint(0, 9999)
    return Parameter(
        name, {"type": "number", "description": description}, value, rng.choice(said.split("|")).format(value)
    )


def _boolean(rng: Random, held_out: bool) -> Parameter:
    name, yes, no = rng.choice(_BOOLEANS)
    value = rng.random() < 0.6
    return Parameter(name, {"type": "boolean", "description": f"whether {name}"}, value, yes if value else no)


def _choice(rng: Random, held_out: bool) -> Parameter:
    name, values, said = rng.choice(_CHOICES)
    offered = list(values) if len(values) <= 4 else rng.sample(values, 4)
    value = rng.choice(offered)
    return Parameter(
        name,
        {"type": "string", "enum": offered, "description": name},
        value,
        rng.choice(said.split("|")).format(value),
    )


def _listed(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]


def _list(rng: Random, held_out: bool) -> Parameter:
    names, said, make = rng.choice((
        (("items", "products", "things", "words", "tags", "labels"), "with {}|for {}|containing {}", people.noun),
        (("people", "guests", "recipients", "attendees", "names"), "with {}|for {}|to {}", people.person),
        (("cities", "places", "stops", "locations"), "for {}|in {}|through {}", people.city),
    ))  # fmt: skip
    name = rng.choice(names)
    values = [make(rng, held_out) for _ in range(rng.randint(1, 4))]
    schema: dict[str, Json] = {"type": "array", "items": {"type": "string"}, "description": f"the {name}"}
    return Parameter(name, schema, values, rng.choice(said.split("|")).format(_listed(values)))


def _object(rng: Random, held_out: bool) -> Parameter:
    parts = {
        rng.choice(("street", "name", "title", "label")): people.noun(rng, held_out).capitalize(),
        rng.choice(("city", "town", "place")): people.city(rng, held_out),
        rng.choice(("number", "zip", "size", "level")): rng.randint(1, 99999),
    }
    kept = dict(rng.sample(list(parts.items()), rng.randint(2, 3)))
    name = rng.choice(("address", "details", "target", "place", "options", lexicon.any_word(rng)))
    properties = {key: {"type": "integer" if isinstance(value, int) else "string"} for key, value in kept.items()}
    said = f"with {name} " + rng.choice((", ", " and ")).join(f"{key} {value}" for key, value in kept.items())
    return Parameter(name, {"type": "object", "properties": properties, "required": list(kept)}, kept, said)


def _wild_choice(rng: Random, held_out: bool) -> Parameter:
    """Values and a name that were never seen together."""
    name = lexicon.any_word(rng)
    offered = list(
        {lexicon.any_word(rng) if rng.random() < 0.8 else lexicon.any_code(rng) for _ in range(rng.randint(2, 5))}
    )
    offered.sort()
    value = rng.choice(offered)
    said = rng.choice(
        ("with {1}", "with {0} {1}", "in {1} {0}", "as {1}", "and the {0} is {1}", "using {1}", "{0} {1}")
    ).format(name, value)
    return Parameter(name, {"type": "string", "enum": offered}, value, said)


_MAKERS: tuple[Callable[[Random, bool], Parameter], ...] = (
    _string,
    _integer,
    _number,
    _boolean,
    _choice,
    _list,
    _object,
    _wild_choice,
)
_SHARES = (43, 16, 10, 9, 9, 5, 2, 8)


def parameters(rng: Random, count: int, held_out: bool) -> tuple[Parameter, ...]:
    """Parameters of different names."""
    found: dict[str, Parameter] = {}
    while len(found) < count:
        made = rng.choices(_MAKERS, _SHARES)[0](rng, held_out)
        if rng.random() < 0.3 and made.schema["type"] in ("integer", "number", "string") and "enum" not in made.schema:
            made = _renamed(rng, made, held_out)
        if rng.random() < 0.3:
            made = replace(made, schema={key: value for key, value in made.schema.items() if key != "description"})
        found.setdefault(made.name, made)
    return tuple(found.values())


def _renamed(rng: Random, parameter: Parameter, held_out: bool) -> Parameter:
    """Under an invented name that the user says too, so that names are read, not guessed."""
    words = [invented_word(rng, 2)] if held_out else [lexicon.any_word(rng) for _ in range(rng.choice((1, 1, 2)))]
    quoted = f'"{parameter.value}"' if " " in str(parameter.value) else parameter.value
    said = rng.choice(
        (
            "with {} {}",
            "with {} set to {}",
            "where {} is {}",
            "with {} = {}",
            "and {} {}",
            "{} {}",
            "{}: {}",
            "the {} is {}",
        )
    ).format(" ".join(words), quoted)
    name = words[0] if len(words) == 1 else lexicon.identifier(rng, words)
    return Parameter(name, {**parameter.schema, "description": f"the {' '.join(words)}"}, parameter.value, said)
