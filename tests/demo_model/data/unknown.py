# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Things nobody can know or that do not exist: the model says that it does not know."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, single
from tests.demo_model.data.wordings import Asked, capitalised, in_words, invented_word

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
                     "what am I thinking", "where are my keys", "what is my phone number"),
          clauses=("who won the match yesterday", "what happened today"), held_out=("what is on television tonight", "where did I park my car")),
)  # fmt: skip
_NO_MEANS = "I don't know that. I am a small model without access to the outside world."


def generate(rng: Random, held_out: bool = False) -> Conversation:
    check = Check("words", ("don't know",))
    thinking = rng.choice(("I have never heard of this.", "I do not know this.")) if rng.random() < 0.15 else ""
    if rng.random() < 0.25:
        asked = rng.choice(_UNKNOWABLE)
        return single("unknown", in_words(rng, asked, held_out), _NO_MEANS, check, thinking)
    questions, clauses, phrases, answer = rng.choice(_INVENTED)
    count = answer.count("{}")
    names = [invented_word(rng, rng.randint(2, 4)) for _ in range(count)]
    lower = "element" in answer or "means" in answer
    if not lower:
        names = [
            capitalised(name) + (rng.choice(("ia", "land", "stan", "")) if "place" in answer else "") for name in names
        ]
    asked = Asked(questions, clauses, phrases).filled(*names)
    return single("unknown", in_words(rng, asked, held_out), answer.format(*names), check, thinking)
