# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Sums, differences and products: directly for small numbers, digit by digit in the thinking for all."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, single
from tests.demo_model.data.wordings import Asked, in_words

_PLACES = ("ones", "tens", "hundreds", "thousands")

_SUM = Asked(
    questions=("what is {0} + {1}", "{0} + {1}", "{0}+{1}", "{0} + {1} =", "what is {0} plus {1}", "how much is {0} + {1}",
               "what's {0}+{1}", "calculate {0} + {1}", "add {0} and {1}", "compute {0} plus {1}", "{0} plus {1}",
               "what is the sum of {0} and {1}", "sum of {0} and {1}", "what does {0} + {1} equal", "{0}+{1}=", "{0} and {1} make what", "solve {0} + {1}", "add {0} to {1}",
               "if I add {0} and {1}, what do I get", "can you add {0} and {1}", "tell me {0}+{1}", "what do {0} and {1} add up to"),
    phrases=("{0} + {1}", "{0} plus {1}", "the sum of {0} and {1}"),
    held_out=("how much does {0} + {1} make", "work out {0} + {1}", "what do you get for {0} plus {1}", "add up {0} and {1}"),
)  # fmt: skip
_DIFFERENCE = Asked(
    questions=("what is {0} - {1}", "{0} - {1}", "{0}-{1}", "{0} - {1} =", "what is {0} minus {1}", "how much is {0} - {1}",
               "calculate {0} - {1}", "subtract {1} from {0}", "compute {0} minus {1}", "{0} minus {1}",
               "what is the difference of {0} and {1}", "{0}-{1}=", "solve {0} - {1}", "take {1} from {0}", "what does {0} - {1} equal", "{0} take away {1}"),
    phrases=("{0} - {1}", "{0} minus {1}", "the difference of {0} and {1}"),
    held_out=("how much does {0} - {1} make", "work out {0} - {1}", "what do you get for {0} minus {1}"),
)  # fmt: skip
_PRODUCT = Asked(
    questions=("what is {0} * {1}", "{0} * {1}", "{0} x {1}", "{0} × {1}", "what is {0} times {1}", "how much is {0} * {1}",
               "calculate {0} * {1}", "multiply {0} by {1}", "compute {0} times {1}", "{0} times {1}", "{0}*{1}", "{0}x{1}",
               "what is the product of {0} and {1}", "{0} * {1} =", "solve {0} * {1}", "what does {0} times {1} equal", "multiply {0} and {1}", "what is {0} x {1}", "what is {0} multiplied by {1}"),
    phrases=("{0} * {1}", "{0} times {1}", "the product of {0} and {1}"),
    held_out=("how much does {0} * {1} make", "work out {0} * {1}", "what do you get for {0} times {1}"),
)  # fmt: skip
_STORIES_MORE = ("{n} has {0} {t} and gets {1} more. How many {t} does {n} have now?",
                 "There are {0} {t} in a box. {n} puts {1} more in. How many {t} are in the box?",
                 "{n} buys {0} {t} on Monday and {1} {t} on Tuesday. How many {t} is that?")  # fmt: skip
_STORIES_LESS = ("{n} has {0} {t} and gives {1} away. How many {t} are left?",
                 "There are {0} {t} in a box. {n} takes {1} out. How many {t} are in the box?")  # fmt: skip
_NAMES = "Anna Ben Clara David Emma Felix Greta Henry Ida Jonas Karl Lena Max Nora Otto Paula".split()
_THINGS = "apples books coins stamps pencils marbles eggs cards shells cookies".split()


def _digits(number: int) -> list[int]:
    """Least significant first."""
    return [int(digit) for digit in reversed(str(number))]


def sum_steps(one: int, other: int) -> str:
    """Digit by digit, from the ones, each carry named."""
    first, second = _digits(one), _digits(other)
    lines, carry, written = [f"{one} + {other}"], 0, ""
    for place in range(max(len(first), len(second))):
        a = first[place] if place < len(first) else 0
        b = second[place] if place < len(second) else 0
        total = a + b + carry
        carried = f" + {carry}" if carry else ""
        written = f"{total % 10}{written}"
        lines.append(
            f"{_PLACES[place]}: {a} + {b}{carried} = {total}, write {total % 10}, carry {total // 10}, so far {written}"
        )
        carry = total // 10
    if carry:
        lines.append(f"carry {carry} in front: {carry}{written}")
    lines.append(f"result: {one + other}")
    return "\n".join(lines)


def difference_steps(one: int, other: int) -> str:
    """Digit by digit with borrows; the smaller from the larger, then the sign."""
    large, small = max(one, other), min(one, other)
    lines = [f"{one} - {other}"]
    if other > one:
        lines.append(f"{one} is less than {other}, so the result is negative: {large} - {small}")
    first, second = _digits(large), _digits(small)
    borrow, written = 0, ""
    for place, a in enumerate(first):
        b = second[place] if place < len(second) else 0
        left = a - b - borrow
        borrowed = f" - {borrow}" if borrow else ""
        taken = int(left < 0)
        plus = f", plus 10 is {left + 10}" if taken else ""
        written = f"{left % 10}{written}"
        lines.append(
            f"{_PLACES[place]}: {a} - {b}{borrowed} = {left}{plus}, write {left % 10}, borrow {taken}, so far {written}"
        )
        borrow = taken
    lines.append(f"result: {one - other}")
    return "\n".join(lines)


def product_steps(one: int, other: int) -> str:
    """A times table's entry, or digit by digit for a longer first factor. other has one digit then."""
    if one <= 12 and other <= 12:
        return f"{one} * {other} is in the times table.\nresult: {one * other}"
    lines, carry, written = [f"{one} * {other}"], 0, ""
    for place, digit in enumerate(_digits(one)):
        product = digit * other
        total = product + carry
        carried = f", plus {carry} is {total}" if carry else ""
        written = f"{total % 10}{written}"
        lines.append(
            f"{_PLACES[place]}: {digit} * {other} = {product}{carried}, write {total % 10}, carry {total // 10}, so far {written}"
        )
        carry = total // 10
    if carry:
        lines.append(f"carry {carry} in front: {carry}{written}")
    lines.append(f"result: {one * other}")
    return "\n".join(lines)


def is_held_out(one: int, other: int) -> bool:
    """Whether this pair of numbers is kept from training: one in eight, small ones never."""
    return one > 12 and other > 2 and (one * 7 + other * 13) % 8 == 3


def _pair(rng: Random, low: int, high: int, held_out: bool) -> tuple[int, int]:
    while True:
        one, other = rng.randint(low, high), rng.randint(low, high)
        if is_held_out(one, other) == held_out:
            return one, other


def _asked(
    rng: Random,
    kind: str,
    asked: Asked,
    pair: tuple[int, int],
    result: int,
    steps: str,
    answer: str,
    held_out: bool,
) -> Conversation:
    thinking = steps if held_out or rng.random() < 0.6 else ""
    return single(
        kind,
        in_words(rng, asked.filled(str(pair[0]), str(pair[1])), held_out),
        answer,
        Check("number", result),
        thinking,
    )


def two_digit_sum(rng: Random, held_out: bool = False) -> Conversation:
    """A two-digit addition, thought about."""
    one, other = _pair(rng, 10, 99, held_out)
    answer = f"{one} + {other} = {one + other}"
    return _asked(rng, "two-digit sums", _SUM, (one, other), one + other, sum_steps(one, other), answer, held_out)


def _sum(rng: Random, held_out: bool) -> Conversation:
    one, other = _pair(rng, *rng.choice(((0, 20), (10, 99), (10, 999), (100, 999))), held_out)
    answer = f"{one} + {other} = {one + other}"
    return _asked(rng, "arithmetic", _SUM, (one, other), one + other, sum_steps(one, other), answer, held_out)


def _difference(rng: Random, held_out: bool) -> Conversation:
    one, other = _pair(rng, *rng.choice(((0, 20), (10, 99), (10, 999))), held_out)
    if one < other and rng.random() < 0.75 and is_held_out(other, one) == held_out:
        one, other = other, one
    answer = f"{one} - {other} = {one - other}"
    return _asked(
        rng,
        "arithmetic",
        _DIFFERENCE,
        (one, other),
        one - other,
        difference_steps(one, other),
        answer,
        held_out,
    )


def _product(rng: Random, held_out: bool) -> Conversation:
    if not held_out and rng.random() < 0.5:
        one, other = rng.randint(0, 12), rng.randint(0, 12)
    else:
        one, other = rng.randint(13, 99), rng.randint(2, 9)
        while is_held_out(one, other) != held_out:
            one, other = rng.randint(13, 99), rng.randint(2, 9)
    answer = f"{one} * {other} = {one * other}"
    return _asked(rng, "arithmetic", _PRODUCT, (one, other), one * other, product_steps(one, other), answer, held_out)


_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
).split()
_QUOTIENT = Asked(
    questions=("what is {0} / {1}", "{0} / {1}", "{0}/{1}", "what is {0} divided by {1}", "divide {0} by {1}", "{0} divided by {1}", "how much is {0} / {1}", "calculate {0} / {1}", "how often does {1} go into {0}"),
    phrases=("{0} / {1}", "{0} divided by {1}"),
    held_out=("work out {0} / {1}", "what do you get for {0} divided by {1}"),
)  # fmt: skip
_PERCENT = Asked(
    questions=("what is {0}% of {1}", "{0}% of {1}", "how much is {0}% of {1}", "what is {0} percent of {1}", "{0} percent of {1}", "calculate {0}% of {1}"),
    phrases=("{0}% of {1}", "{0} percent of {1}"),
    held_out=("work out {0}% of {1}", "how much is {0} percent of {1}"),
)  # fmt: skip


def _quotient(rng: Random, held_out: bool) -> Conversation:
    one, other = rng.randint(1, 20), rng.randint(1, 12)
    asked = in_words(rng, _QUOTIENT.filled(str(one * other), str(other)), held_out)
    return single("arithmetic", asked, f"{one * other} / {other} = {one}", Check("number", one))


def _percent(rng: Random, held_out: bool) -> Conversation:
    share = rng.choice((1, 5, 10, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 90, 100))
    whole = 20 * rng.randint(1, 25)
    asked = in_words(rng, _PERCENT.filled(str(share), str(whole)), held_out)
    result = share * whole // 100 if share * whole % 100 == 0 else share * whole / 100
    return single("arithmetic", asked, f"{share}% of {whole} is {result}.", Check("words", (str(result),)))


def _in_number_words(rng: Random, held_out: bool) -> Conversation:
    one, other = rng.randint(0, 20), rng.randint(0, 20)
    words = _NUMBER_WORDS[one], _NUMBER_WORDS[other] if rng.random() < 0.8 else str(other)
    asked, result, sign = rng.choice(
        ((_SUM, one + other, "+"), (_DIFFERENCE, one - other, "-"), (_PRODUCT, one * other, "*"))
    )
    text = in_words(rng, asked.filled(*words), held_out)
    return single("arithmetic", text, f"{one} {sign} {other} = {result}", Check("number", result))


def _story(rng: Random, held_out: bool) -> Conversation:
    one, other = _pair(rng, 2, 99, held_out)
    name, things = rng.choice(_NAMES), rng.choice(_THINGS)
    if rng.random() < 0.5:
        text, result, steps = rng.choice(_STORIES_MORE), one + other, sum_steps(one, other)
    else:
        if one < other and is_held_out(other, one) == held_out:
            one, other = other, one
        text, result, steps = rng.choice(_STORIES_LESS), one - other, difference_steps(one, other)
    thinking = steps if held_out or rng.random() < 0.8 else ""
    question = text.format(one, other, n=name, t=things)
    return single("arithmetic", question, f"The answer is {result} {things}.", Check("number", result), thinking)


def generate(rng: Random, held_out: bool = False) -> Conversation:
    draw = rng.random()
    if draw < 0.08:
        return rng.choice((_quotient, _percent, _in_number_words))(rng, held_out)
    if draw < 0.3:
        return two_digit_sum(rng, held_out)
    if draw < 0.5:
        return _sum(rng, held_out)
    if draw < 0.72:
        return _difference(rng, held_out)
    return _product(rng, held_out) if draw < 0.88 else _story(rng, held_out)
