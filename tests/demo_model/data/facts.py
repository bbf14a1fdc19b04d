# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Facts of general knowledge, each asked in many wordings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from tests.demo_model.conversation import Check, Conversation, single
from tests.demo_model.data import knowledge
from tests.demo_model.data.singles import Fact, read_facts
from tests.demo_model.data.wordings import Asked, capitalised, in_words
from tests.demo_model.data.world import COUNTRIES, in_sentence

_CAPITAL = Asked(
    questions=(
        *("what is the capital of {}", "what's the capital of {}", "which city is the capital of {}"),
        *("what is the capital city of {}", "which is the capital of {}", "what city is the capital of {}"),
        *(
            "{} has which capital",
            "what is the name of the capital of {}",
            "the capital of {} is called what",
        ),
        *(
            "{} capital",
            "{} capital city",
            "{}: capital",
            "capital of {}",
            "capital {}",
            "what is {}'s capital",
            "what's {}'s capital city",
        ),
        *(
            "what is the capital city in {}",
            "which city serves as the capital of {}",
            "where is the capital of {}",
            "what city is {}'s capital",
        ),
        *(
            "if I visit the capital of {}, which city do I see",
            "the capital of {} is",
            "the government of {} sits in which city",
        ),
    ),
    clauses=(
        "what the capital of {} is",
        "which city is the capital of {}",
        "what the capital city of {} is called",
    ),
    phrases=(
        "the capital of {}",
        "the capital city of {}",
        "the name of the capital of {}",
        "the capital of {} please",
        "{}'s capital",
        "{}'s capital city",
        "the city that is the capital of {}",
    ),
    held_out=(
        "which capital does {} have",
        "what do you call the capital of {}",
        "name the capital city of {}",
    ),
)
_COUNTRY = Asked(
    questions=(
        *(
            "which country has the capital {}",
            "{} is the capital of which country",
            "what country is {} the capital of",
        ),
        *(
            "of which country is {} the capital",
            "which country's capital is {}",
            "{} is the capital of what country",
        ),
    ),
    clauses=("which country has the capital {}", "which country {} is the capital of"),
    phrases=("the country whose capital is {}", "the country with the capital {}"),
    held_out=("what country has {} as its capital", "the city of {} is the capital of which country"),
)
_CONTINENT = Asked(
    questions=(
        *("on which continent is {}", "which continent is {} on", "what continent is {} in", "where is {}"),
        *("in which continent does {} lie", "{} is on which continent", "in what part of the world is {}"),
    ),
    clauses=("on which continent {} is", "which continent {} is on", "where {} is"),
    phrases=("the continent of {}", "the continent that {} is on"),
    held_out=("on what continent can I find {}", "which continent does {} belong to"),
)
_SYMBOL = Asked(
    questions=(
        *("what is the chemical symbol of {}", "what is the symbol for {}", "which symbol does {} have"),
        *("what is {}'s chemical symbol", "how is {} written in chemistry", "which letters stand for {}"),
    ),
    clauses=("what the symbol of {} is", "which symbol stands for {}"),
    phrases=("the chemical symbol of {}", "the symbol for {}", "the symbol of the element {}"),
    held_out=("what symbol do chemists use for {}", "what is the element symbol of {}"),
)
_ELEMENT = Asked(
    questions=("which element has the symbol {}", "what element is {}", "{} is the symbol of which element",
               "what does the symbol {} stand for", "which chemical element is {}"),
    clauses=("which element has the symbol {}", "what the symbol {} stands for"),
    phrases=("the element with the symbol {}", "the name of the element {}"),
    held_out=("which element is written {}", "what is the element with symbol {} called"),
)  # fmt: skip
_NUMBER = Asked(
    questions=("what is the atomic number of {}", "which atomic number does {} have", "what number is {} in the periodic table",
               "how many protons does {} have"),
    clauses=("what the atomic number of {} is", "how many protons {} has"),
    phrases=("the atomic number of {}", "the number of protons of {}"),
    held_out=("what is {}'s atomic number", "how many protons are in an atom of {}"),
)  # fmt: skip
_GROUP = Asked(
    questions=("what kind of animal is a {}", "what type of animal is a {}", "which class of animals does the {} belong to",
               "is a {} a mammal, a bird, a fish or something else"),
    clauses=("what kind of animal a {} is", "which class the {} belongs to"),
    phrases=("the class of the {}", "the animal class of a {}", "the kind of animal that a {} is"),
    held_out=("what sort of animal is a {}", "to which group of animals does a {} belong"),
)  # fmt: skip
_LEGS = Asked(
    questions=("how many legs does a {} have", "how many legs has a {}", "a {} has how many legs", "on how many legs does a {} stand"),
    clauses=("how many legs a {} has",),
    phrases=("the number of legs of a {}", "how many legs a {} has"),
    held_out=("what number of legs does a {} have", "how many legs do you count on a {}"),
)  # fmt: skip
_SOUND = Asked(
    questions=(
        "what sound does a {} make",
        "what does a {} sound like",
        "how does a {} sound",
        "what noise does a {} make",
    ),
    clauses=("what sound a {} makes", "what noise a {} makes"),
    phrases=("the sound of a {}", "the sound that a {} makes", "the noise of a {}"),
    held_out=("which sound comes from a {}", "what kind of noise does a {} make"),
)
_YOUNG = Asked(
    questions=(
        "what is a baby {} called",
        "what is the young of a {} called",
        "what do you call a baby {}",
        "what do you call a young {}",
    ),
    clauses=("what a baby {} is called", "what a young {} is called"),
    phrases=("the name for a baby {}", "the word for a young {}", "the name of a {}'s young"),
    held_out=("which word is used for a baby {}", "how is a young {} called"),
)
_UNIT = Asked(
    questions=("how many {0} are in a {1}", "how many {0} does a {1} have", "how many {0} are there in a {1}",
               "a {1} has how many {0}", "how many {0} make a {1}", "how many {0} in a {1}"),
    clauses=("how many {0} are in a {1}", "how many {0} a {1} has", "how many {0} make a {1}"),
    phrases=("the number of {0} in a {1}", "how many {0} a {1} has"),
    held_out=("what number of {0} is in a {1}", "one {1} is how many {0}", "how many {0} go into a {1}"),
)  # fmt: skip
_OPPOSITE = Asked(
    questions=("what is the opposite of {}", "what's the opposite of {}", "which word is the opposite of {}",
               "what word means the opposite of {}", "{} is the opposite of what", "what is the contrary of {}", "what is the antonym of {}", "opposite of {}", "which word is the contrary of {}", "what is not {} but the opposite"),
    clauses=("what the opposite of {} is", "which word is the opposite of {}"),
    phrases=("the opposite of {}", "the opposite of the word {}", "the antonym of {}", "a word that means the opposite of {}"),
    held_out=("which word has the opposite meaning of {}", "what word is opposite to {}", "name the opposite word of {}"),
)  # fmt: skip
_AFTER = Asked(
    questions=(
        "what comes after {}",
        "which {1} comes after {0}",
        "what {1} follows {0}",
        "which is the {1} after {0}",
    ),
    clauses=("what comes after {}", "which {1} follows {0}"),
    phrases=("the {1} after {0}", "the {1} that follows {0}", "the next {1} after {0}"),
    held_out=("after {0} comes which {1}", "which {1} is next after {0}"),
)
_BEFORE = Asked(
    questions=("what comes before {}", "which {1} comes before {0}", "which is the {1} before {0}"),
    clauses=("what comes before {}", "which {1} is before {0}"),
    phrases=("the {1} before {0}", "the {1} that is before {0}", "the {1} just before {0}"),
    held_out=("before {0} comes which {1}", "which {1} is right before {0}"),
)
_ORDINAL = Asked(
    questions=("which {1} is the {0}", "what is the {0} {1}", "which is the {0} {1}", "what {1} comes {0}"),
    clauses=("which {1} is the {0}", "what the {0} {1} is"),
    phrases=("the {0} {1}", "the name of the {0} {1}"),
    held_out=("what {1} is the {0} one", "the {0} {1} is which"),
)
_MONTH_DAYS = Asked(
    questions=(
        "how many days does {} have",
        "how many days are in {}",
        "how many days are there in {}",
        "how long is {}",
    ),
    clauses=("how many days {} has", "how many days are in {}"),
    phrases=("the number of days in {}", "how many days {} has"),
    held_out=("what number of days does {} have", "{} has how many days"),
)
_MIX = Asked(
    questions=("what colour do {} and {} make", "what do you get when you mix {} and {}", "which colour comes from mixing {} and {}",
               "what is {} plus {} as paint", "{} mixed with {} gives which colour", "what colour do you get from {} and {}", "if I mix {} and {}, what colour do I get", "{} and {} make what colour"),
    clauses=("what colour {} and {} make", "what you get when you mix {} and {}"),
    phrases=("the colour that {} and {} make", "the mix of {} and {}"),
    held_out=("which colour do I get from {} and {}", "which colour do {} and {} give"),
)  # fmt: skip
_COLOUR = Asked(
    questions=(
        "what colour is {}",
        "which colour is {}",
        "which colour does {} have",
        "what color is {}",
        "in which colour do we see {}",
        "what is the colour of {}",
        "tell me the color of {}",
        "{} has which colour",
    ),
    clauses=("what colour {} is", "which colour {} has"),
    phrases=("the colour of {}", "the usual colour of {}"),
    held_out=("which color is {}", "what is the color of {}"),
)


def with_article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" and not word.startswith("u") else f"a {word}"


def _article(asked: Asked) -> Asked:
    """ "a owl" becomes "an owl"."""

    def mend(texts: tuple[str, ...]) -> tuple[str, ...]:
        mended = []
        for text in texts:
            words = text.split(" ")
            for place, word in enumerate(words[:-1]):
                if (word == "a" and words[place + 1][0] in "aeio") or (word == "a" and words[place + 1] == "hour"):
                    words[place] = "an"
            mended.append(" ".join(words))
        return tuple(mended)

    return Asked(mend(asked.questions), mend(asked.clauses), mend(asked.phrases), mend(asked.held_out))


def _fact(asked: Asked, values: tuple[str, ...], answer: str, *words: str) -> Fact:
    return Fact(_article(asked.filled(*values)), capitalised(answer), words)


def _geography() -> list[Fact]:
    facts = []
    for country, (capital, continent) in COUNTRIES.items():
        inside = in_sentence(country)
        facts.append(
            _fact(_CAPITAL, (inside,), f"The capital of {inside} is {capital.rstrip('.')}.", capital.rstrip("."))
        )
        facts.append(_fact(_COUNTRY, (capital,), f"{capital} is the capital of {inside}.", country))
        facts.append(_fact(_CONTINENT, (inside,), f"{inside} is in {continent}.", continent))
    return facts


def _chemistry() -> list[Fact]:
    facts = []
    for element, (symbol, number) in knowledge.ELEMENT_TABLE.items():
        facts.append(_fact(_SYMBOL, (element,), f"The chemical symbol of {element} is {symbol}.", symbol))
        facts.append(_fact(_ELEMENT, (symbol,), f"{symbol} is the symbol of {element}.", element))
        facts.append(_fact(_NUMBER, (element,), f"The atomic number of {element} is {number}.", str(number)))
    return facts


def _animals() -> list[Fact]:
    facts = []
    for animal, (group, legs, sound, young) in knowledge.ANIMALS.items():
        one = with_article(animal)
        facts.append(_fact(_GROUP, (animal,), f"{one} is {with_article(group)}.", group))
        facts.append(_fact(_LEGS, (animal,), f"{one} has {legs or 'no'} legs.", str(legs or "no")))
        facts.append(_fact(_YOUNG, (animal,), f"A baby {animal} is called {with_article(young)}.", young))
        if sound:
            facts.append(_fact(_SOUND, (animal,), f"{one} {sound}.", sound))
    return facts


def _measures() -> list[Fact]:
    facts = []
    for small, large, count in knowledge.UNITS:
        subject = "An hour" if large == "hour" else with_article(large)
        facts.append(_fact(_UNIT, (small, large), f"{subject} has {count} {small}.", count))
    for word, opposite in knowledge.OPPOSITES:
        for one, other in ((word, opposite), (opposite, word)):
            if one == "light":  # It is the opposite of both dark and heavy.
                facts.append(_fact(_OPPOSITE, (one,), "The opposite of light is dark, or heavy.", "dark"))
            else:
                facts.append(_fact(_OPPOSITE, (one,), f"The opposite of {one} is {other}.", other))
    return facts


def _calendar() -> list[Fact]:
    facts = []
    for noun, names in (("day", knowledge.DAYS), ("month", knowledge.MONTHS)):
        for place, name in enumerate(names):
            after, before = names[(place + 1) % len(names)], names[place - 1]
            facts.append(_fact(_AFTER, (name, noun), f"{after} comes after {name}.", after))
            facts.append(_fact(_BEFORE, (name, noun), f"{before} comes before {name}.", before))
    for place, (month, days) in enumerate(zip(knowledge.MONTHS, knowledge.MONTH_DAYS, strict=True)):
        which = f"{knowledge.ORDINALS[place]} month"
        facts.append(
            _fact(_ORDINAL, (knowledge.ORDINALS[place], "month of the year"), f"The {which} is {month}.", month)
        )
        leap = ", or 29 in a leap year" if days == 28 else ""
        facts.append(_fact(_MONTH_DAYS, (month,), f"{month} has {days} days{leap}.", str(days)))
    for place, planet in enumerate(knowledge.PLANETS):
        ordinal = knowledge.ORDINALS[place]
        facts.append(
            _fact(
                _ORDINAL,
                (ordinal, "planet from the sun"),
                f"The {ordinal} planet from the sun is {planet}.",
                planet,
            )
        )
    return facts


def _colours() -> list[Fact]:
    facts = []
    for (one, other), mix in knowledge.COLOURS.items():
        facts.append(_fact(_MIX, (one, other), f"{one} and {other} make {mix}.", mix))
        facts.append(_fact(_MIX, (other, one), f"{other} and {one} make {mix}.", mix))
    facts += [
        _fact(_COLOUR, (thing,), f"{thing} is {colour}.", colour) for thing, colour in knowledge.THING_COLOURS.items()
    ]
    return facts


@lru_cache(maxsize=1)
def _tables() -> tuple[tuple[tuple[Fact, ...], ...], tuple[int, ...]]:
    """The facts by field, and how often each field is asked about."""
    makers: tuple[tuple[Callable[[], list[Fact]], int], ...] = (
        (_geography, 46), (_chemistry, 14), (_animals, 12), (_measures, 13), (_calendar, 6), (_colours, 3)
    )  # fmt: skip
    fields = [tuple(make()) for make, _ in makers]
    return (*fields, read_facts(knowledge.SINGLES)), (*(weight for _, weight in makers), 22)


def all_facts() -> tuple[Fact, ...]:
    """Every fact, for counting and for the exam."""
    return tuple(fact for field in _tables()[0] for fact in field)


@dataclass(frozen=True, slots=True)
class About:
    """A fact and the thing that it is about, as a question names it."""

    subject: str
    fact: Fact


@dataclass(frozen=True, slots=True)
class Kind:
    """Facts that differ in the thing alone, and how often they are asked about."""

    facts: tuple[About, ...]
    weight: int


def _kinds() -> tuple[Kind, ...]:
    fields = dict(zip(("geography", "chemistry", "animals"), _tables()[0], strict=False))
    places = [in_sentence(country) for country in COUNTRIES]
    elements, animals = list(knowledge.ELEMENT_TABLE), list(knowledge.ANIMALS)
    geography, chemistry = fields["geography"], fields["chemistry"]
    legs = {fact.answer.split(" ")[1]: fact for fact in fields["animals"] if " legs." in fact.answer}
    tables = (
        (places, geography[0::3], 50),
        ([COUNTRIES[country][0] for country in COUNTRIES], geography[1::3], 12),
        (places, geography[2::3], 14),
        (elements, chemistry[0::3], 8),
        (elements, chemistry[2::3], 8),
        ([f"{with_article(animal)}" for animal in animals], [legs[animal] for animal in animals], 8),
    )
    return tuple(
        Kind(tuple(About(subject, fact) for subject, fact in zip(subjects, facts, strict=True)), weight)
        for subjects, facts, weight in tables
    )


_THOUGHTS = (
    "I know this one.",
    "This is a fact I know.",
    "A question of general knowledge.",
    "I can answer this at once.",
)


def as_conversation(rng: Random, fact: Fact, kind: str, held_out: bool) -> Conversation:
    """One fact asked and answered; now and then after a short thought."""
    thinking = rng.choice(_THOUGHTS) if rng.random() < 0.15 else ""
    return single(kind, in_words(rng, fact.asked, held_out), fact.answer, Check("words", fact.words), thinking)


KINDS = _kinds()


def generate(rng: Random, held_out: bool = False) -> Conversation:
    fields, weights = _tables()
    return as_conversation(rng, rng.choice(rng.choices(fields, weights)[0]), "facts", held_out)
