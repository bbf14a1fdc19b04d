"""The mixture that the demo model learns: every kind of data and its share of the documents."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from tests.demo_model.conversation import Conversation, Text
from tests.demo_model.data import (
    arithmetic,
    chains,
    facts,
    hypura_questions,
    infill,
    json_answers,
    memory,
    obedience,
    sequences,
    smalltalk,
    stories,
    tools,
    unknown,
)

Maker = Callable[[Random], Conversation | Text]

#: Shares of documents, not of tokens: a tool call has four times the tokens of a fact.
MIXTURE: dict[str, tuple[Maker, float]] = {
    "facts": (facts.generate, 34.0),
    "hypura": (hypura_questions.generate, 6.0),
    "smalltalk": (smalltalk.generate, 3.0),
    "arithmetic": (arithmetic.generate, 10.0),
    "sequences": (sequences.generate, 9.0),
    "stories": (stories.generate, 1.0),
    "story texts": (stories.text, 0.5),
    "unknown": (unknown.generate, 4.0),
    "memory": (memory.generate, 5.0),
    "obedience": (obedience.generate, 4.0),
    "tools": (tools.generate, 13.0),
    "json": (json_answers.generate, 7.0),
    "infill": (infill.text, 3.0),
    "chains": (chains.generate, 4.5),
}
_PLAIN_SYSTEM_SHARE = 0.06


def document(rng: Random) -> Conversation | Text:
    """One document for training."""
    names = list(MIXTURE)
    name = rng.choices(names, [MIXTURE[key][1] for key in names])[0]
    made = MIXTURE[name][0](rng)
    if isinstance(made, Conversation) and made.messages[0].role != "system" and rng.random() < _PLAIN_SYSTEM_SHARE:
        made = obedience.with_plain_system(rng, made)
    if isinstance(made, Conversation) and made.think and not made.messages[-1].thinking:
        made = replace(made, think=False)
    return made


def documents(seed: int) -> Iterator[Conversation | Text]:
    """Documents without end; the same for the same seed."""
    rng = Random(seed)
    while True:
        yield document(rng)
