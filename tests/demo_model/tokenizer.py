"""Byte-level BPE exactly as llama.cpp's "gpt2" tokenizer with the "qwen2" pre-tokenizer.

    text ──► special tokens split off ──► pre-tokens (regex) ──► bytes as printable letters ──► merges ──► ids

The regex is that of LLAMA_VOCAB_PRE_TYPE_QWEN2 in llama.cpp's src/llama-vocab.cpp, each digit a piece of its
own. Python's re has no \\p{L}, so its classes are spelt out from unicodedata.

Unlike other vocabularies of this kind, no merge joins a word with the space, quote or underscore before it, or
the parts of camelCase, but for the spaces of the smallest words at the end. So " weather", "get_weather" and
"getWeather" hold the same token or nearly so, and a small model can copy words from one place to another.
"""

import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from tests.demo_model.data.lexicon import FUNCTION_WORDS

VOCABULARY_TOKENS = 4096
VOCABULARY_PATH = Path(__file__).with_name("vocabulary.json")
END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
#: Marks that never belong to a text; llama.cpp's type CONTROL.
CONTROL = (END_OF_TEXT, IM_START, IM_END, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>")
#: Marks that belong to an answer's text and are shown; llama.cpp's type USER_DEFINED.
MARKS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<tools>",
    "</tools>",
)
SPECIAL = CONTROL + MARKS


@lru_cache(maxsize=1)
def _byte_letters() -> tuple[str, ...]:
    """The printable letter of each byte, as GPT-2 maps them."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return tuple(chr(byte) if byte in printable else chr(next(spare)) for byte in range(256))


def _class_of(initial: str) -> str:
    """The characters of a Unicode category as the inside of a regex class."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == initial:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(re.escape(chr(low)) + "-" + re.escape(chr(high)) for low, high in ranges)


@lru_cache(maxsize=1)
def _pieces() -> re.Pattern[str]:
    letter, number = _class_of("L"), _class_of("N")
    return re.compile(
        rf"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n{letter}{number}]?[{letter}]+|[{number}]"
        rf"| ?[^\s{letter}{number}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


_SPECIAL_PATTERN = re.compile("(" + "|".join(re.escape(mark) for mark in sorted(SPECIAL, key=len, reverse=True)) + ")")


_PARTS = re.compile(r"[^\W\d_]?[^\WA-Z\d_]+|[A-Z]+(?![a-z])|[^\W\d_]|[\W\d_]+")


def pretokens(text: str) -> list[str]:
    """The pieces of a text without special tokens, inside which merges happen."""
    return _pieces().findall(text)


def _as_letters(piece: str) -> str:
    letters = _byte_letters()
    return "".join(letters[byte] for byte in piece.encode())


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """tokens: the text of each id, in byte letters. ranks: the order of each merge."""

    tokens: tuple[str, ...]
    ranks: Mapping[tuple[str, str], int]
    ids: Mapping[str, int]
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens in the text are honoured."""
        result: list[int] = []
        for part in _SPECIAL_PATTERN.split(text):
            if part in SPECIAL:
                result.append(self.ids[part])
                continue
            for piece in pretokens(part):
                known = self._known.get(piece)
                if known is None:
                    known = self._merged(piece)
                    if len(self._known) < 200_000:
                        self._known[piece] = known
                result.extend(known)
        return result

    def _merged(self, piece: str) -> tuple[int, ...]:
        parts = list(_as_letters(piece))
        while len(parts) > 1:
            ranks = [self.ranks.get(pair, sys.maxsize) for pair in pairwise(parts)]
            best = min(ranks)
            if best == sys.maxsize:
                break
            place = ranks.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return tuple(self.ids[part] for part in parts)

    def decode(self, ids: Iterable[int]) -> str:
        """The text, special tokens included; bytes that are no UTF-8 become the replacement character."""
        byte_of = {letter: byte for byte, letter in enumerate(_byte_letters())}
        data = bytearray()
        for token in ids:
            text = self.tokens[token]
            data += text.encode() if text in SPECIAL else bytes(byte_of[letter] for letter in text)
        return data.decode(errors="replace")

    @property
    def merges(self) -> list[str]:
        """The merges in order, as GGUF stores them."""
        return [f"{left} {right}" for left, right in sorted(self.ranks, key=lambda pair: self.ranks[pair])]


def from_merges(merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """Bytes first, then each merge, the special tokens last."""
    tokens = (*_byte_letters(), *(left + right for left, right in merges), *SPECIAL)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    return Tokenizer(tokens, ranks, {token: number for number, token in enumerate(tokens)})


@lru_cache(maxsize=1)
def shipped() -> Tokenizer:
    """The tokenizer of vocabulary.json. Raises FileNotFoundError when it has not been trained."""
    merges = json.loads(VOCABULARY_PATH.read_text(encoding="utf-8"))["merges"]
    return from_merges([tuple(merge.split(" ")) for merge in merges])


def _mergeable(piece: str) -> list[str]:
    """The parts of a piece that merges may not join: what stands before a word, and camelCase's words."""
    return _PARTS.findall(piece) or [piece]


def train(texts: Iterable[str], vocabulary_tokens: int = VOCABULARY_TOKENS) -> Tokenizer:
    """Merges the most frequent pair again and again; of equals the one that sorts first, so it is reproducible."""
    counts: Counter[str] = Counter()
    for text in texts:
        for part in _SPECIAL_PATTERN.split(text):
            if part not in SPECIAL:
                for piece in pretokens(part):
                    counts.update(_mergeable(piece))
    spaced = [_as_letters(f" {word}") for word in FUNCTION_WORDS] if vocabulary_tokens == VOCABULARY_TOKENS else []
    words = [list(_as_letters(piece)) for piece in counts]
    weights = list(counts.values())
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += weights[number]
            where[pair].add(number)
    merges: list[tuple[str, str]] = []
    made = set(_byte_letters())
    while len(merges) < vocabulary_tokens - 256 - len(SPECIAL) - len(spaced):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] <= 0:
            raise ValueError(f"the texts hold only {len(merges)} merges; give more text for {vocabulary_tokens} tokens")
        if "".join(best) in made:  # Two merges of one token would give it two ids.
            del pairs[best]
            continue
        merges.append(best)
        made.add("".join(best))
        for number in where.pop(best):
            _merge_word(words[number], best, number, weights[number], pairs, where)
        pairs.pop(best, None)
    missing = [word for word in spaced if len(word) > 2 and word[1:] not in made]
    if missing:
        raise ValueError(f"{missing} are no tokens; give more text, or take them out of the function words")
    return from_merges([*merges, *((word[0], word[1:]) for word in spaced)])


def _merge_word(
    word: list[str],
    best: tuple[str, str],
    number: int,
    weight: int,
    pairs: Counter[tuple[str, str]],
    where: dict[tuple[str, str], set[int]],
) -> None:
    """Merges one word in place and keeps the counts of pairs right."""
    for pair in pairwise(word):
        pairs[pair] -= weight
        if pair != best and pairs[pair] <= 0:
            del pairs[pair]
    place = 0
    while place < len(word) - 1:
        if (word[place], word[place + 1]) == best:
            word[place : place + 2] = [best[0] + best[1]]
        place += 1
    for pair in pairwise(word):
        pairs[pair] += weight
        where[pair].add(number)


def save(tokenizer: Tokenizer, path: Path = VOCABULARY_PATH) -> None:
    """Writes the merges as JSON."""
    path.write_text(json.dumps({"merges": tokenizer.merges}, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
