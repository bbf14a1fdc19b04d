# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Things nobody can know or that do not exist: the model says that it does not know."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, single
from tests.demo_model.data import lexicon, people
from tests.demo_model.data.wordings import Asked, capitalised, framed, in_words, invented_word, styled
from tests.demo_model.data.world import COUNTRIES, in_sentence

_INVENTED = (
    (("what is the capital of {}", "which city is the capital of {}", "where is {}", "on which continent is {}", "what language do people speak in {}"),
     ("what the capital of {} is", "where {} is"), ("the capital of {}", "the continent of {}"), "I don't know a place called {}."),
    (("what is the chemical symbol of {}", "what is the atomic number of {}"), ("what the symbol of {} is",), ("the chemical symbol of {}", "the atomic number of {}"),
     "I don't know an element called {}."),
    (("what is a {}", "how many legs does a {} have", "what sound does a {} make"), ("what a {} is",), ("the meaning of {}", "the opposite of {}"),
     "I don't know what {} means."),
    (("who is {} {}", "when was {} {} born", "what did {} {} do"), ("who {} {} is", "when {} {} was born"), ("the birthday of {} {}", "the job of {} {}"),
     "I don't know anybody called {} {}."),
    (("who wrote {} {}", "what is the book {} {} about"), ("who wrote {} {}",), ("the author of {} {}",), "I don't know {} {}."),
)  # fmt: skip
_UNKNOWABLE = (
    Asked(questions=("what is the weather today", "will it rain tomorrow", "how is the weather", "what's the temperature outside", "is it sunny now"),
          clauses=("what the weather is", "if it will rain tomorrow"), held_out=("is it cold outside today", "how warm is it now")),
    Asked(questions=("what time is it", "what is the time", "what day is it today", "what is the date today", "which year is it"),
          clauses=("what time it is", "which day it is"), held_out=("how late is it", "what is today's date")),
    Asked(questions=("who won the match yesterday", "what is in the news", "what happened today", "what did I eat yesterday", "how much money do I have",
                     "what am I thinking", "where are my keys", "what is my phone number", "what is on television", "where did I park", "who is at the door", "what is on TV tonight", "what are the lottery numbers"),
          clauses=("who won the match yesterday", "what happened today"), held_out=("what is on television tonight", "where did I park my car")),
)  # fmt: skip
#: {0} an adjective, {1} and {2} nouns, {3} a verb, {4} a name
_BEYOND = """who won the {1} {2}|who is the {1} of {4}|what is the population of {4}|how many {1}s are in {4}|who invented the {0} {1}|when did {4} {3} the {1}|when was the {1} of {4}|why does the {1} {3} the {2}
how do I {3} a {0} {1}|what is the best {1}|what is the {1} of the {2}|how much does a {1} cost|how heavy is a {1}|who is {4}|where can I {3} a {1}|which {1} is the {0}|what happened to {4}|why is my {1} {0}|how long does a {1} last
who was the {1} of {4}|who won the world cup in 19{5}|who won the election in {4}|what is the phone number of {4}|what is the price of {4}|what did {4} say about the {1}|how many {1}s does {4} have|explain the {0} {1} theory|is {4} {0}
what is the history of {4}|how tall is {4}|how old is {4}|tell me about the {0} {1}|what will the {1} be tomorrow|give me a recipe for {1} {2}|who is the president of {4}|who is the king of {4}|what is the name of the {1} in {4}|when does the {1} {3}|what year was {4} founded
how many people live in {4}|what is the score of the {1}|why did {4} {3}|which {1} should I {3}|can you {3} my {1}|what are the {0} {1}s of {4}|where does {4} live|what color is my {1}|write an essay about the {0} {1}|what is {4} famous for""".replace(
    "\n", "|"
).split("|")
_BEYOND_HELD_OUT = (
    "who was the first {1} of {4}",
    "how big is the {0} {1}",
    "who is the owner of the {1} in {4}",
    "how many {1}s did {4} {3}",
)
_NO_MEANS = "I don't know that. I am a small model without access to the outside world."


def generate(rng: Random, held_out: bool = False) -> Conversation:
    check = Check("words", ("don't know",))
    thinking = rng.choice(("I have never heard of this.", "I do not know this.")) if rng.random() < 0.15 else ""
    draw = rng.random()
    if draw < 0.5:
        name = (
            lexicon.any_name(rng)
            if rng.random() < 0.5
            else people.person(rng, held_out)
            if rng.random() < 0.4
            else in_sentence(rng.choice(tuple(COUNTRIES)))
        )
        question = rng.choice(_BEYOND_HELD_OUT if held_out else _BEYOND).format(
            rng.choice(lexicon.ADJECTIVES), rng.choice(lexicon.NOUNS), rng.choice(lexicon.NOUNS), rng.choice(lexicon.VERBS), name, rng.randint(10, 99)
        )  # fmt: skip
        question = styled(rng, framed(rng, question) if not held_out and rng.random() < 0.2 else question, held_out)
        return single("unknown", question, "I don't know that. I am a very small model.", check, thinking)
    if draw < 0.65:
        asked = rng.choice(_UNKNOWABLE)
        return single("unknown", in_words(rng, asked, held_out), _NO_MEANS, check, thinking)
    questions, clauses, phrases, answer = rng.choice(_INVENTED)
    count = answer.count("{}")
    names = [
        invented_word(rng, rng.randint(2, 4)) if held_out or rng.random() < 0.4 else lexicon.pseudo_word(rng)
        for _ in range(count)
    ]
    lower = "element" in answer or "means" in answer
    if not lower:
        names = [
            capitalised(name) + (rng.choice(("ia", "land", "stan", "")) if "place" in answer else "") for name in names
        ]
    asked = Asked(questions, clauses, phrases).filled(*names)
    return single("unknown", in_words(rng, asked, held_out), answer.format(*names), check, thinking)
