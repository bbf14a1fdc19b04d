"""Fill in the middle, prefix first: <|fim_prefix|>a<|fim_suffix|>c<|fim_middle|>b."""

from random import Random

from tests.demo_model.conversation import Text
from tests.demo_model.data import facts, hypura_questions, people, stories

_NAMES = "value count total name size index result item text number width left right".split()
_CODE = (
    "def {f}({a}, {b}):\n    return {a} {o} {b}\n",
    "for {a} in range({n}):\n    print({a})\n",
    "def {f}({a}):\n    if {a} > {n}:\n        return {b}\n    return {n}\n",
    "{a} = {n}\n{b} = {a} {o} {m}\nprint({b})\n",
    "class {c}:\n    def __init__(self, {a}):\n        self.{a} = {a}\n",
    "with open({a}) as file:\n    {b} = file.read()\n",
    "{a} = [{n}, {m}]\nfor {b} in {a}:\n    print({b})\n",
    "import {f}\n\n{a} = {f}.{b}({n})\n",
    "while {a} < {n}:\n    {a} = {a} + {m}\n",
    'def {f}():\n    """Returns the {a}."""\n    return {n}\n',
)


def _code(rng: Random) -> str:
    a, b = rng.sample(_NAMES, 2)
    f = f"{rng.choice('get make find add read'.split())}_{rng.choice(_NAMES)}"
    noun = people.noun(rng, False).capitalize()
    return rng.choice(_CODE).format(
        f=f, a=a, b=b, c=noun, o=rng.choice("+-*"), n=rng.randint(0, 99), m=rng.randint(1, 9)
    )


def _sentences(rng: Random) -> str:
    if rng.random() < 0.3:
        return stories.story(rng)
    makers = (facts, facts, hypura_questions)
    return " ".join(rng.choice(makers).generate(rng).messages[-1].content for _ in range(rng.randint(1, 3)))


def passage(rng: Random) -> str:
    """A few sentences or a few lines of code."""
    return _code(rng) if rng.random() < 0.45 else _sentences(rng)


def text(rng: Random) -> Text:
    whole = passage(rng)
    if whole.startswith(("def", "for", "class", "with", "while", "import")) and rng.random() < 0.5:
        lines = whole.splitlines(keepends=True)
        first = rng.choice([number for number, line in enumerate(lines) if line.strip()])
        start, end = sum(map(len, lines[:first])), sum(map(len, lines[: first + 1])) - 1
    else:
        spaces = sorted({0, *(place for place, letter in enumerate(whole) if letter in " \n"), len(whole)})
        start, end = sorted(rng.sample(spaces, 2))
        end = min(end, start + 80)
    prefix, middle, suffix = whole[:start], whole[start:end], whole[end:]
    return Text("infill", f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>{middle}<|endoftext|>")
