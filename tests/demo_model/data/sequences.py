# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Counting, sorting, copying, spelling and reversing."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, single
from tests.demo_model.data import knowledge, lexicon
from tests.demo_model.data.wordings import asked_politely, invented_word
from tests.demo_model.data.world import COUNTRIES

_WORDS = (
    *knowledge.ANIMALS,
    *(word for pair in knowledge.OPPOSITES for word in pair),
    *(element for element in knowledge.ELEMENT_TABLE),
    *(country.lower() for country in COUNTRIES if country.isascii() and country.isalpha()),
    *"apple bread chair table window garden river mountain letter paper music school winter model memory tensor router".split(),
)
_POLITE_HELD_OUT = ("would you please ", "I want you to ", "kindly ")


def _opened(rng: Random, wish: str, held_out: bool) -> str:
    if held_out:
        return rng.choice(_POLITE_HELD_OUT) + wish
    return wish if wish.startswith(("how", "what", "which")) else asked_politely(rng, wish)


def _ask(rng: Random, forms: tuple[str, ...], held_out: bool, *values: object) -> str:
    """forms: the last one is held out, where there are more than one."""
    text = _opened(rng, rng.choice(forms[-1:] if held_out else forms[:-1]).format(*values), held_out)
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else text + rng.choice((".", "", "", "!"))


def _word(rng: Random, held_out: bool) -> str:
    if held_out:
        return invented_word(rng, rng.randint(2, 3))
    return rng.choice(_WORDS) if rng.random() < 0.3 else lexicon.any_word(rng)


def _count(rng: Random, held_out: bool) -> Conversation:
    start, length, step = (
        rng.choice((0, 1, 1, 1, rng.randint(2, 90))),
        rng.randint(3, 15),
        rng.choice((1, 1, 1, 2, 5, 10, -1)),
    )
    if step < 0:
        start += length
    end = start + step * (length - 1)
    numbers = ", ".join(str(start + step * place) for place in range(length))
    forms: tuple[str, ...]
    if abs(step) == 1:
        forms = ("count from {0} to {1}", "count {0} to {1}", "list the numbers from {0} to {1}", "write the numbers from {0} to {1}",
                 "say the numbers from {0} to {1}", "count up from {0} to {1}", "numbers {0} to {1}", "give me the numbers {0} to {1}", "count on from {0} until {1}", "list all the numbers from {0} to {1}")  # fmt: skip
    else:
        forms = ("count from {0} to {1} in steps of {2}", "count from {0} to {1} by {2}", "list every {2}th number from {0} to {1}",
                 "write the numbers from {0} to {1} in steps of {2}", "list numbers from {0} to {1} in steps of {2}")  # fmt: skip
    return single("sequences", _ask(rng, forms, held_out, start, end, step), numbers, Check("exact", numbers))


def _sort(rng: Random, held_out: bool) -> Conversation:
    size = rng.randint(3, 7)
    forms: tuple[str, ...]
    if rng.random() < 0.6:
        numbers = rng.sample(range(rng.choice((10, 100, 100)) + size), size)
        down = rng.random() < 0.3
        items, ordered = [str(n) for n in numbers], [str(n) for n in sorted(numbers, reverse=down)]
        how = rng.choice(
            (" from large to small", " in descending order")
            if down
            else ("", "", " from small to large", " in ascending order")
        )
        forms = (
            "sort these numbers{1}: {0}",
            "sort{1}: {0}",
            "put these numbers in order{1}: {0}",
            "order the numbers{1}: {0}",
            "arrange these numbers{1}: {0}",
            "bring these numbers into order{1}: {0}",
            "sort the list{1}: {0}",
            "please sort the numbers{1}: {0}",
        )
    else:
        items = rng.sample(_WORDS, min(size, 5))
        ordered, how = sorted(items), rng.choice(("", " by alphabet", " alphabetically"))
        forms = (
            "sort these words{1}: {0}",
            "sort{1} the words {0}",
            "put these words in order{1}: {0}",
            "order the words{1}: {0}",
            "arrange these words{1}: {0}",
            "bring these words into order{1}: {0}",
            "please sort the words{1}: {0}",
        )
    answer = ", ".join(ordered)
    return single("sequences", _ask(rng, forms, held_out, ", ".join(items), how), answer, Check("exact", answer))


def _copy(rng: Random, held_out: bool) -> Conversation:
    parts = [
        _word(rng, held_out) if rng.random() < 0.8 else str(rng.randint(0, 9999)) for _ in range(rng.randint(1, 8))
    ]
    text = " ".join(parts)
    forms = (
        "repeat: {0}",
        "repeat after me: {0}",
        "copy this: {0}",
        "say this: {0}",
        "write exactly this: {0}",
        'say "{0}"',
        'repeat "{0}"',
        "echo: {0}",
        "repeat these words: {0}",
        "repeat the words {0}",
    )
    wish = rng.choice(forms[-1:] if held_out else forms[:-1]).format(text)
    opened = _opened(rng, wish, held_out)
    question = opened if opened.endswith(wish[-6:]) else wish  # Words after the text would belong to it.
    return single("sequences", question[0].upper() + question[1:], text, Check("exact", text))


def _spell(rng: Random, held_out: bool) -> Conversation:
    word = _word(rng, held_out)
    spelt = "-".join(word)
    forms: tuple[str, ...]
    if rng.random() < 0.25:
        forms = (
            "how many letters are in {0}",
            "how many letters does {0} have",
            "count the letters of {0}",
            'how many letters has the word "{0}"',
        )
        lines = "\n".join(f"{letter} {place}" for place, letter in enumerate(word, start=1))
        answer = f"The word {word} has {len(word)} letters."
        if not held_out and rng.random() < 0.5:
            lines, answer = "", f"{'-'.join(word)} has {len(word)} letters."
        return single("sequences", _ask(rng, forms, held_out, word), answer, Check("number", len(word)), lines)
    forms = (
        "spell {0}",
        "spell the word {0}",
        'spell "{0}"',
        "how do you spell {0}?",
        "how is {0} spelt?",
        "spell {0} letter by letter",
        "give me the letters of {0}",
        "write {0} letter by letter",
        "what are the letters of {0}?",
        "spell out {0}",
        "spell out the word {0}",
    )
    return single("sequences", _ask(rng, forms, held_out, word), spelt, Check("exact", spelt))


def _reverse(rng: Random, held_out: bool) -> Conversation:
    word = _word(rng, held_out)
    backwards = word[::-1]
    forms = (
        "reverse {0}",
        "reverse the word {0}",
        "write {0} backwards",
        'spell "{0}" backwards',
        "what is {0} backwards?",
        "turn the word {0} around",
        "spell {0} in reverse",
        "{0} backwards",
        "reverse this word: {0}",
        "say {0} backwards",
        "reverse this: {0}",
    )
    thinking = f"letters: {'-'.join(word)}\nbackwards: {'-'.join(backwards)}"
    answer, check = backwards, Check("exact", backwards)
    if not held_out and rng.random() < 0.5:
        answer, check, thinking = (
            f"{'-'.join(word)} backwards is {'-'.join(backwards)}: {backwards}",
            Check("ends", backwards),
            "",
        )
    return single("sequences", _ask(rng, forms, held_out, word), answer, check, thinking)


def _pick(rng: Random, held_out: bool) -> Conversation:
    items = rng.sample(_WORDS, rng.randint(3, 6)) if rng.random() < 0.5 else [str(n) for n in rng.sample(range(100), 4)]
    place = rng.choice((0, 1, 2, -1))
    name = {0: "first", 1: "second", 2: "third", -1: "last"}[place]
    answer = items[place]
    forms = (
        "what is the {1} of these: {0}?",
        "which is the {1} item: {0}?",
        "give me the {1} of {0}",
        "say the {1} one of these: {0}",
    )
    if items[0].isdigit() and rng.random() < 0.5:
        name, answer = rng.choice((("largest", max(items, key=int)), ("smallest", min(items, key=int))))
    return single("sequences", _ask(rng, forms, held_out, ", ".join(items), name), answer, Check("exact", answer))


def generate(rng: Random, held_out: bool = False) -> Conversation:
    make = rng.choices((_count, _sort, _copy, _spell, _reverse, _pick), (15, 24, 12, 21, 15, 13))[0]
    return make(rng, held_out)
