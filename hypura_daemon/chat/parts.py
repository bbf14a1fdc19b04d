"""What a model's raw answer is made of: thinking, content, tool calls, and the markup between them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class Kind(Enum):
    """What a part is. MARKUP has no text: it says that all text so far has been accounted for."""

    THINKING = auto()
    CONTENT = auto()
    CALL = auto()
    MARKUP = auto()


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer. A call's name is the tool's, and its text the JSON of its arguments."""

    kind: Kind
    text: str = ""
    name: str = ""


MARKUP = Part(Kind.MARKUP)


class Parser(Protocol):
    """Takes the text of an answer in any pieces and gives its parts, in order.

    However the text is cut, the parts joined are the same; nothing but white space around markup is lost.
    """

    def push(self, text: str) -> list[Part]:
        """The parts that became certain with this text."""

    def finish(self, *, cut: bool = False) -> list[Part]:
        """The rest, when the answer has ended.

        cut: a limit or a stop string ended it, not the model. Markup that was cut off, the beginning of a marker or
        a call that is not whole, is then dropped; where the model itself ended so, it is content.
        """


def overlap(text: str, markers: Iterable[str]) -> int:
    """Length of the longest end of the text that is a beginning of a marker, but not all of it."""
    longest = 0
    for marker in markers:
        for length in range(min(len(text), len(marker) - 1), longest, -1):
            if text.endswith(marker[:length]):
                longest = length
                break
    return longest
