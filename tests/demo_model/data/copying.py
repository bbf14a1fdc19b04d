# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Copying what stands in the prompt: repeating, looking up, finding; with words that are in no table."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, Message, assistant, single, user
from tests.demo_model.data import lexicon
from tests.demo_model.data.wordings import asked_politely

_REPEAT = ("repeat: {}", "repeat after me: {}", "copy this: {}", "say this: {}", "write exactly this: {}", 'say "{}"', 'repeat "{}"', "echo: {}",
           "repeat this text: {}", "repeat the following: {}", "write {}", "say {}", "type this: {}", "output {}", "reply with {}", 'answer with "{}"',
           "just say {}", "say only {}", "respond with: {}")  # fmt: skip
_REPEAT_SYSTEM = (
    "Repeat what the user says.",
    "Echo every message.",
    "You repeat each message word by word.",
    "Copy the user's text.",
    "Say the same as the user.",
)
_LINES = (
    "{k}: {v}",
    "{k} = {v}",
    "{k} is {v}",
    "the {k} is {v}",
    "{k} -> {v}",
    "{k} {v}",
    "{v} is the {k}",
    "the {k} of it is {v}",
    "{k} has {v}",
)
_LOOK_UP = ("what is {k}", "what is the {k}", "give me {k}", "tell me the {k}", "which value has {k}", "{k}", "look up {k}", "find {k}", "which one is {k}",
            "read out {k}", "what does it say for {k}", "what was the {k}", "what belongs to {k}", "return {k}")  # fmt: skip


def _value(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.45:
        return lexicon.any_word(rng)
    if draw < 0.6:
        return lexicon.any_name(rng)
    if draw < 0.75:
        return str(rng.randint(0, 10 ** rng.randint(1, 7)))
    return lexicon.any_code(rng) if draw < 0.87 else lexicon.any_phrase(rng, 3)


def _odd_text(rng: Random) -> str:
    """Words, names, numbers and marks in any order."""
    draw = rng.random()
    if draw < 0.25:
        return lexicon.sentence(rng)
    length = rng.choices((1, 3, 8, 20, 40), (25, 30, 25, 15, 5))[0]
    parts = [_value(rng) for _ in range(rng.randint(1, length))]
    joint = rng.choice((" ", " ", " ", ", ", "-", " and ", "/", "\n", "; ", "."))
    text = joint.join(parts)
    return rng.choice((text, text, text, text.upper(), text.title(), f"{text}{rng.choice('.!?')}"))


def _repeat(rng: Random) -> Conversation:
    text = _odd_text(rng)
    check = Check("exact", text)
    if rng.random() < 0.35:
        return single("copying", text, text, check).with_system(rng.choice(_REPEAT_SYSTEM))
    wish = rng.choice(_REPEAT)
    frame = asked_politely(rng, wish)
    if not frame.endswith(wish[-3:]):  # Words after the text would belong to it.
        frame = wish
    question = frame.replace("{}", text)
    return single("copying", question[0].upper() + question[1:] if rng.random() < 0.7 else question, text, check)


def _pairs(rng: Random, most: int) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for _ in range(rng.randint(1, most)):
        key = lexicon.any_word(rng) if rng.random() < 0.8 else lexicon.any_phrase(rng, 2)
        pairs.setdefault(key, _value(rng))
    return pairs


def _lines(rng: Random, pairs: dict[str, str]) -> str:
    form = rng.choice(_LINES)
    joint = rng.choice((", ", "; ", "\n", ". ", " and "))
    return joint.join(
        (form if rng.random() < 0.8 else rng.choice(_LINES)).format(k=key, v=value) for key, value in pairs.items()
    )


def _look_up(rng: Random) -> Conversation:
    pairs = _pairs(rng, rng.choice((2, 5, 12)))
    key = rng.choice(list(pairs))
    question = rng.choice(_LOOK_UP).format(k=key)
    if not question.startswith(("what", "which")):
        question = asked_politely(rng, question)
    question += rng.choice(("?", "", "."))
    facts, value = _lines(rng, pairs), pairs[key]
    check = Check("exact", value)
    draw = rng.random()
    if draw < 0.4:
        return single(
            "copying", f"{facts}{rng.choice(('. ', chr(10)))}{question[0].upper()}{question[1:]}", value, check
        )
    if draw < 0.6:
        return single("copying", question, value, check).with_system(facts)
    if draw < 0.8:
        return single("copying", f"{question}\n{facts}", value, check)
    turns: list[Message] = []
    for name, each in pairs.items():
        turns += [
            user(rng.choice(_LINES).format(k=name, v=each)),
            assistant(rng.choice(("I will remember that.", "Noted."))),
        ]
    return Conversation("copying", (*turns, user(question), assistant(value)), check)


def _needle(rng: Random) -> Conversation:
    """One sentence that matters among many that do not."""
    key, value = lexicon.any_name(rng), _value(rng)
    what = rng.choice(lexicon.NOUNS)
    sentences = [lexicon.sentence(rng) for _ in range(rng.randint(1, 10))]
    other = f"The {what} of {lexicon.any_name(rng)} is {_value(rng)}."
    for text in (f"The {what} of {key} is {value}.", other):
        sentences.insert(rng.randint(0, len(sentences)), text)
    question = rng.choice(
        (f"what is the {what} of {key}", f"tell me the {what} of {key}", f"which {what} does {key} have")
    )
    return single(
        "copying",
        f"{' '.join(sentences)}\n{question[0].upper()}{question[1:]}?",
        f"The {what} of {key} is {value}.",
        Check("words", (value,)),
    )


def generate(rng: Random) -> Conversation:
    return rng.choices((_repeat, _look_up, _needle), (45, 40, 15))[0](rng)
