"""Long conversations of many unrelated questions, so that earlier turns do not disturb later ones."""

from random import Random

from tests.demo_model.conversation import Conversation, Message
from tests.demo_model.data import (
    arithmetic,
    facts,
    hypura_questions,
    memory,
    requests,
    sequences,
    smalltalk,
    stories,
    unknown,
    yes_no,
)

_MAKERS = (facts, hypura_questions, smalltalk, arithmetic, sequences, memory, unknown, stories, requests, yes_no)
_WEIGHTS = (30, 12, 12, 14, 12, 12, 5, 3, 5, 8)


def generate(rng: Random, held_out: bool = False) -> Conversation:
    turns: list[Message] = []
    for _ in range(rng.choices((1, 2, 3, 4, 6, 12, 25), (30, 25, 18, 12, 10, 3, 2))[0]):
        earlier = rng.choices(_MAKERS, _WEIGHTS)[0].generate(rng, held_out)
        turns += [Message(message.role, message.content) for message in earlier.messages]
    last = rng.choices(_MAKERS, _WEIGHTS)[0].generate(rng, held_out)
    return Conversation("chains", (*turns, *last.messages), last.check, think=last.think)
