# ruff: noqa: E501 (tables of wordings, an entry a line)
"""What the user said earlier in the conversation, asked for later."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, Message, assistant, user
from tests.demo_model.data import facts, lexicon, people, smalltalk
from tests.demo_model.data.wordings import framed, invented_word, styled

#: what | ways to say it | the acknowledgement | ways to ask | a held-out way to ask | the answer
_KINDS = (
    ("name", "my name is {}|I am {}|I'm {}|call me {}|hi, my name is {}|hello, I'm {}|hello! I am {}|hi, I'm {}|hi there, I am {}|my name's {}|please call me {}|you can call me {}|I am called {}|people call me {}|hey, {} here|this is {}|remember that my name is {}|remember my name: {}|my name is {}, remember it|my name is {}. Please remember that|my name is {} and I have a question", "Nice to meet you, {}!",
     "what is my name|what's my name|do you remember my name|who am I|what am I called|tell me my name|say my name|do you know my name|what did I say my name was|can you tell me my name|what was my name|what was my name again|which name did I tell you|and what is my name|remember my name|my name is|how am I called", "can you recall my name", "Your name is {}."),
    ("colour", "my favourite colour is {}|I like the colour {}|the colour I like most is {}|I love {}", "{} is a nice colour.",
     "what is my favourite colour|which colour do I like|what colour do I like most|tell me my favourite colour", "do you recall which colour I like", "Your favourite colour is {}."),
    ("number", "my number is {}|remember the number {}|please remember {}|the number is {}|keep in mind the number {}|my lucky number is {}", "I will remember {}.",
     "what is my number|what was the number|which number did I tell you|what is the number|tell me the number", "can you recall the number", "The number is {}."),
    ("city", "I live in {}|my home is {}|I am from {}|I come from {}|my city is {}", "{} is a fine place.",
     "where do I live|where am I from|which city do I live in|what is my city|tell me where I live", "can you recall where I live", "You live in {}."),
    ("pet", "my dog is called {}|my cat is named {}|I have a dog named {}|my pet is called {}", "{} is a good name.",
     "what is my pet called|what is the name of my pet|how is my pet called|tell me my pet's name", "can you recall the name of my pet", "Your pet is called {}."),
    ("age", "I am {} years old|my age is {}|I'm {} years old|I turned {} this year", "{} is a good age.",
     "how old am I|what is my age|what age did I tell you|do you know how old I am|tell me my age", "can you recall my age", "You are {} years old."),
    ("food", "my favourite food is {}|I like to eat {}|I love eating {}", "{} sounds good.",
     "what is my favourite food|what do I like to eat|which food do I like|tell me my favourite food", "can you recall my favourite food", "Your favourite food is {}."),
    ("word", "the secret word is {}|remember the word {}|the password is {}|my code word is {}", "I will remember the word {}.",
     "what is the secret word|what was the word|which word did I tell you|tell me the word", "can you recall the secret word", "The word is {}."),
)  # fmt: skip


def _value(rng: Random, what: str, held_out: bool) -> str:
    if what in ("name", "pet"):
        return people.person(rng, held_out)
    if what == "colour":
        return rng.choice(people.COLOURS)
    if what == "number":
        return str(rng.randint(2, 10 ** rng.randint(1, 5)))
    if what == "age":
        return str(rng.randint(3, 99))
    if what == "food":
        return people.noun(rng, held_out)
    return people.city(rng, held_out) if what == "city" else invented_word(rng) if held_out else lexicon.any_word(rng)


def _said(rng: Random, text: str) -> str:
    return (text[0].upper() + text[1:] if rng.random() < 0.8 else text) + rng.choice((".", "", "!", "."))


def _free(rng: Random) -> Conversation:
    """Anything that is said to be something, asked for a few turns later."""
    thing, value = (
        rng.choice(lexicon.NOUNS),
        lexicon.any_phrase(rng, 2) if rng.random() < 0.6 else lexicon.any_code(rng),
    )
    turns = [
        user(
            _said(
                rng,
                rng.choice(
                    ("my {} is {}", "remember that my {} is {}", "please note: my {} is {}", "the {} is {}")
                ).format(thing, value),
            )
        ),
        assistant(f"I will remember that your {thing} is {value}."),
    ]
    for _ in range(rng.choice((0, 1, 1, 2))):
        aside = rng.choice((facts, smalltalk)).generate(rng)
        turns += [user(aside.messages[0].content), assistant(aside.messages[-1].content)]
    question = rng.choice(
        (
            "what is my {}",
            "what's my {}",
            "tell me my {}",
            "do you remember my {}",
            "which {} do I have",
            "what was my {}",
        )
    ).format(thing)
    return Conversation(
        "memory",
        (*turns, user(styled(rng, question)), assistant(f"Your {thing} is {value}.")),
        Check("words", (value,)),
    )


def generate(rng: Random, held_out: bool = False) -> Conversation:
    if not held_out and rng.random() < 0.15:
        return _free(rng)
    kinds = rng.sample(_KINDS, rng.choice((1, 1, 1, 2, 2, 3)))
    values = [_value(rng, kind[0], held_out) for kind in kinds]
    turns: list[Message] = []
    for kind, value in zip(kinds, values, strict=True):
        acknowledgement = kind[2].format(value)
        said = rng.choice(kind[1].split("|")).format(value)
        said = framed(rng, said) if not held_out and rng.random() < 0.15 else said
        turns += [
            user(_said(rng, said)),
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
