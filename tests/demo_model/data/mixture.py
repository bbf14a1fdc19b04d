"""The mixture that the demo model learns: every kind of data and its share of the documents."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from tests.demo_model.conversation import Conversation, Text
from tests.demo_model.data import (
    arithmetic,
    chains,
    copying,
    facts,
    hypura_questions,
    infill,
    json_answers,
    memory,
    obedience,
    requests,
    sequences,
    smalltalk,
    stories,
    tools,
    unknown,
    yes_no,
)

Maker = Callable[[Random], Conversation | Text]

#: Shares of documents, not of tokens: a tool call has four times the tokens of a fact.
MIXTURE: dict[str, tuple[Maker, float]] = {
    "facts": (facts.generate, 33.0),
    "hypura": (hypura_questions.generate, 7.0),
    "smalltalk": (smalltalk.generate, 3.0),
    "arithmetic": (arithmetic.generate, 9.0),
    "sequences": (sequences.generate, 8.0),
    "stories": (stories.generate, 0.8),
    "story texts": (stories.text, 0.4),
    "unknown": (unknown.generate, 5.0),
    "memory": (memory.generate, 5.0),
    "obedience": (obedience.generate, 4.0),
    "tools": (tools.generate, 24.0),
    "json": (json_answers.generate, 10.0),
    "infill": (infill.text, 2.0),
    "copying": (copying.generate, 8.0),
    "requests": (requests.generate, 3.0),
    "around facts": (yes_no.generate, 5.0),
    "chains": (chains.generate, 4.0),
}
_PLAIN_SYSTEM_SHARE = 0.08


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
