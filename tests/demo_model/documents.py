"""Documents as tokens: which of them are learned, and how documents are packed into rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.demo_model.conversation import Conversation, Text
from tests.demo_model.template import render_whole
from tests.demo_model.tokenizer import IM_END, IM_START, Tokenizer

_EMPTY_THOUGHT = "<think>\n\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Document:
    """tokens, and whether each is a target: predicted from those before it, and graded."""

    tokens: list[int]
    targets: list[bool]


@dataclass(frozen=True, slots=True)
class Rows:
    """Packed documents, [rows, tokens]. document numbers the documents of a row from 1; 0 is padding."""

    tokens: npt.NDArray[np.int16]
    targets: npt.NDArray[np.bool_]
    document: npt.NDArray[np.int16]


def tokenized(item: Conversation | Text, tokenizer: Tokenizer) -> Document:
    """Assistants' turns are targets, without the empty thought that the template itself writes; texts are whole.

    In a fill-in-the-middle text only what follows <|fim_middle|> is a target.
    """
    if isinstance(item, Text):
        tokens = tokenizer.encode(item.text)
        middle = tokenizer.ids["<|fim_middle|>"]
        start = tokens.index(middle) + 1 if middle in tokens else 1
        return Document(tokens, [place >= start for place in range(len(tokens))])
    tokens = tokenizer.encode(render_whole(item))
    targets = [False] * len(tokens)
    begin = [tokenizer.ids[IM_START], *tokenizer.encode("assistant\n")]
    empty = tokenizer.encode(_EMPTY_THOUGHT)
    end = tokenizer.ids[IM_END]
    place = 0
    while place < len(tokens):
        if tokens[place : place + len(begin)] != begin:
            place += 1
            continue
        place += len(begin)
        if tokens[place : place + len(empty)] == empty:
            place += len(empty)
        while tokens[place] != end:
            targets[place] = True
            place += 1
        targets[place] = True
    return Document(tokens, targets)


def packed(items: Iterable[Conversation | Text], tokenizer: Tokenizer, rows: int, row_tokens: int) -> Iterator[Rows]:
    """Blocks of rows, each filled with whole documents; a document goes where it fits, a longer one is left out."""
    waiting: list[Document] = []
    source = iter(items)
    while True:
        block = Rows(
            np.zeros((rows, row_tokens), np.int16),
            np.zeros((rows, row_tokens), np.bool_),
            np.zeros((rows, row_tokens), np.int16),
        )
        for row in range(rows):
            used, number = 0, 0
            while True:
                while len(waiting) < 24:
                    made = tokenized(next(source), tokenizer)
                    if len(made.tokens) <= row_tokens:
                        waiting.append(made)
                fits = next(
                    (place for place, made in enumerate(waiting) if used + len(made.tokens) <= row_tokens),
                    None,
                )
                if fits is None:
                    break
                made = waiting.pop(fits)
                number += 1
                span = slice(used, used + len(made.tokens))
                block.tokens[row, span] = made.tokens
                block.targets[row, span] = made.targets
                block.document[row, span] = number
                used += len(made.tokens)
        yield block
