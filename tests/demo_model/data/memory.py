# ruff: noqa: E501 (tables of wordings, an entry a line)
"""What the user said earlier in the conversation, asked for later."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, Message, assistant, user
from tests.demo_model.data import facts, people, smalltalk
from tests.demo_model.data.wordings import invented_word, styled

#: what | ways to say it | the acknowledgement | ways to ask | a held-out way to ask | the answer
_KINDS = (
    ("name", "my name is {}|I am {}|I'm {}|call me {}|hi, my name is {}|hello, I'm {}|hello! I am {}", "Nice to meet you, {}!",
     "what is my name|what's my name|do you remember my name|who am I|what am I called|tell me my name|say my name", "can you recall my name", "Your name is {}."),
    ("colour", "my favourite colour is {}|I like the colour {}|the colour I like most is {}|I love {}", "{} is a nice colour.",
     "what is my favourite colour|which colour do I like|what colour do I like most|tell me my favourite colour", "do you recall which colour I like", "Your favourite colour is {}."),
    ("number", "my number is {}|remember the number {}|please remember {}|the number is {}|keep in mind the number {}|my lucky number is {}", "I will remember {}.",
     "what is my number|what was the number|which number did I tell you|what is the number|tell me the number", "can you recall the number", "The number is {}."),
    ("city", "I live in {}|my home is {}|I am from {}|I come from {}|my city is {}", "{} is a fine place.",
     "where do I live|where am I from|which city do I live in|what is my city|tell me where I live", "can you recall where I live", "You live in {}."),
    ("pet", "my dog is called {}|my cat is named {}|I have a dog named {}|my pet is called {}", "{} is a good name.",
     "what is my pet called|what is the name of my pet|how is my pet called|tell me my pet's name", "can you recall the name of my pet", "Your pet is called {}."),
    ("word", "the secret word is {}|remember the word {}|the password is {}|my code word is {}", "I will remember the word {}.",
     "what is the secret word|what was the word|which word did I tell you|tell me the word", "can you recall the secret word", "The word is {}."),
)  # fmt: skip


def _value(rng: Random, what: str, held_out: bool) -> str:
    if what in ("name", "pet"):
        return people.person(rng, held_out) if rng.random() < 0.7 else invented_word(rng, 2).capitalize()
    if what == "colour":
        return rng.choice(people.COLOURS)
    if what == "number":
        return str(rng.randint(2, 10 ** rng.randint(1, 5)))
    return people.city(rng, held_out) if what == "city" else invented_word(rng)


def _said(rng: Random, text: str) -> str:
    return (text[0].upper() + text[1:] if rng.random() < 0.8 else text) + rng.choice((".", "", "!", "."))


def generate(rng: Random, held_out: bool = False) -> Conversation:
    kinds = rng.sample(_KINDS, rng.choice((1, 1, 1, 2, 2, 3)))
    values = [_value(rng, kind[0], held_out) for kind in kinds]
    turns: list[Message] = []
    for kind, value in zip(kinds, values, strict=True):
        acknowledgement = kind[2].format(value)
        turns += [
            user(_said(rng, rng.choice(kind[1].split("|")).format(value))),
            assistant(acknowledgement[0].upper() + acknowledgement[1:]),
        ]
        for _ in range(rng.choice((0, 0, 1, 2))):
            aside = rng.choice((facts, facts, smalltalk)).generate(rng, held_out)
            turns += [user(aside.messages[0].content), assistant(aside.messages[-1].content)]
    asked = list(zip(kinds, values, strict=True))
    rng.shuffle(asked)
    if not held_out and rng.random() < 0.12:
        missing = [kind for kind in _KINDS if kind not in kinds]
        kind = rng.choice(missing)
        question = styled(rng, rng.choice(kind[3].split("|")))
        turns += [user(question), assistant("You have not told me that yet.")]
        return Conversation("memory", tuple(turns), Check("words", ("not told",)))
    answer = ""
    for kind, value in asked[: 1 if held_out else rng.choice((1, 1, 2))]:
        question = kind[4] if held_out else rng.choice(kind[3].split("|"))
        answer = value
        turns += [user(styled(rng, question, held_out)), assistant(kind[5].format(value))]
    thinking = "The user told me earlier." if rng.random() < 0.1 else ""
    turns[-1] = assistant(turns[-1].content, thinking)
    return Conversation("memory", tuple(turns), Check("words", (answer,)), think=bool(thinking))
