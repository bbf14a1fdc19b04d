# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Questions around the tables of facts: yes or no, the next one of a kind, and what there is to say about a thing."""

from collections.abc import Sequence
from functools import lru_cache
from random import Random

from tests.demo_model.conversation import Check, Conversation, assistant, single, user
from tests.demo_model.data import knowledge
from tests.demo_model.data.facts import KINDS, Kind, as_conversation, with_article
from tests.demo_model.data.wordings import Asked, capitalised, framed, in_words, styled
from tests.demo_model.data.world import COUNTRIES, in_sentence

_NEXT = (
    "and {}",
    "what about {}",
    "how about {}",
    "and of {}",
    "and for {}",
    "{}",
    "and the one of {}",
    "now {}",
    "same for {}",
    "ok, and {}",
    "and what about {}",
    "then {}",
    "what of {}",
)
_NEXT_HELD_OUT = ("so what about {}", "good, and {}", "also {}")


@lru_cache(maxsize=1)
def _countries() -> tuple[str, ...]:
    return tuple(COUNTRIES)


def _claim(rng: Random) -> tuple[Sequence[str], bool, str, str]:
    """Ways to ask whether something is so, whether it is, the fact, and a word of it."""
    country = rng.choice(_countries())
    capital, continent = COUNTRIES[country]
    inside, right = in_sentence(country), rng.random() < 0.5
    asks: tuple[str, ...]
    draw = rng.random()
    if draw < 0.4:
        city = capital if right else COUNTRIES[rng.choice(_countries())][0]
        right = city == capital
        asks = (f"is {city} the capital of {inside}", f"is the capital of {inside} {city}", f"{city} is the capital of {inside}, right", f"is it true that {city} is the capital of {inside}",
                f"is {city} {inside}'s capital", f"the capital of {inside} is {city}, correct")  # fmt: skip
        return asks, right, f"the capital of {inside} is {capital.rstrip('.')}.", capital.rstrip(".")
    if draw < 0.6:
        place = (
            continent
            if right
            else rng.choice(("Africa", "Asia", "Europe", "North America", "South America", "Oceania"))
        )
        right = place == continent
        asks = (
            f"is {inside} in {place}",
            f"does {inside} lie in {place}",
            f"{inside} is in {place}, right",
            f"is it true that {inside} is in {place}",
            f"is {inside} a country in {place}",
        )
        return asks, right, f"{inside} is in {continent}.", continent
    if draw < 0.7:
        other = inside if right else in_sentence(rng.choice(_countries()))
        right = other == inside
        return (
            (f"is {capital} in {other}", f"does {capital} lie in {other}"),
            right,
            f"{capital.rstrip('.')} is the capital of {inside}.",
            country,
        )
    if draw < 0.85:
        animal = rng.choice(list(knowledge.ANIMALS))
        group = knowledge.ANIMALS[animal][0]
        guess = group if right else rng.choice(("mammal", "bird", "reptile", "fish", "insect", "amphibian"))
        one, kind = with_article(animal), with_article(guess)
        return (
            (f"is {one} {kind}", f"are {animal}s {guess}s", f"is the {animal} {kind}"),
            guess == group,
            f"{one} is {with_article(group)}.",
            group,
        )
    first, second = rng.sample(range(rng.choice((10, 100, 1000))), 2)
    word = rng.choice(("larger", "smaller"))
    right = (first > second) == (word == "larger")
    says = f"{first} is {'larger' if first > second else 'smaller'} than {second}."
    return (
        (f"is {first} {word} than {second}", f"is {first} {'more' if word == 'larger' else 'less'} than {second}"),
        right,
        says,
        str(second),
    )


def yes_no(rng: Random, held_out: bool = False) -> Conversation:
    asks, so, fact, word = _claim(rng)
    ask = rng.choice(asks)
    question = styled(rng, framed(rng, ask) if not held_out and rng.random() < 0.15 else ask, held_out)
    return single(
        "yes or no", question, f"{'Yes' if so else 'No'}, {fact}", Check("words", ("Yes" if so else "No", word))
    )


def next_one(rng: Random, held_out: bool = False) -> Conversation:
    """A question, then the same about others, without saying it again."""
    kind: Kind = rng.choices(KINDS, [item.weight for item in KINDS])[0]
    facts = [rng.choice(kind.facts) for _ in range(rng.choice((2, 2, 3)))]
    first = as_conversation(rng, facts[0].fact, "next one", held_out)
    turns = [user(first.messages[0].content), assistant(first.messages[-1].content)]
    for item in facts[1:]:
        text = rng.choice(_NEXT_HELD_OUT if held_out else _NEXT).format(item.subject)
        turns += [user(styled(rng, text, held_out)), assistant(item.fact.answer)]
    return Conversation("next one", tuple(turns), Check("words", facts[-1].fact.words))


def _about(rng: Random) -> tuple[str, str, str]:
    """A thing, what there is to say about it, and a word of that."""
    draw = rng.random()
    country = rng.choice(_countries())
    capital, continent = COUNTRIES[country]
    if draw < 0.45:
        inside = in_sentence(country)
        return (
            inside,
            f"{capitalised(inside)} is a country in {continent}. Its capital is {capital.rstrip('.')}.",
            capital.rstrip("."),
        )
    if draw < 0.75:
        return capital, f"{capital.rstrip('.')} is the capital of {in_sentence(country)}.", country
    if draw < 0.88:
        element = rng.choice(list(knowledge.ELEMENT_TABLE))
        symbol, number = knowledge.ELEMENT_TABLE[element]
        return (
            element,
            f"{capitalised(element)} is a chemical element with the symbol {symbol} and the atomic number {number}.",
            symbol,
        )
    animal = rng.choice(list(knowledge.ANIMALS))
    group, legs, _, _ = knowledge.ANIMALS[animal]
    return (
        f"{animal}s",
        f"{capitalised(with_article(animal))} is {with_article(group)} with {legs or 'no'} legs.",
        group,
    )


_ABOUT = Asked(
    questions=("what do you know about {}", "what can you tell me about {}", "can you tell me about {}", "what can you say about {}", "do you know {}", "tell me about {}", "tell me something about {}",
               "tell me more about {}", "describe {}", "talk about {}", "give me information about {}", "tell me a fact about {}", "what should I know about {}"),
    held_out=("please tell me something about {}", "could you describe {}", "what is there to know about {}"),
)  # fmt: skip


def about(rng: Random, held_out: bool = False) -> Conversation:
    thing, says, word = _about(rng)
    return single("about", in_words(rng, _ABOUT.filled(thing), held_out), says, Check("words", (word,)))


def generate(rng: Random, held_out: bool = False) -> Conversation:
    return rng.choices((yes_no, next_one, about), (40, 35, 25))[0](rng, held_out)
