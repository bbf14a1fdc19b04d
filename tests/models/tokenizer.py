"""A byte-level BPE vocabulary of any size that llama.cpp loads and that tokenises every text."""

from dataclasses import dataclass

_NORMAL, _CONTROL = 1, 3
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# A few merges, so that common words are one token and a prompt's length is not its number of bytes.
_MERGES = (
    *("Ġ t", "h e", "Ġt he", "i n", "Ġ a", "e r", "o n", "r e", "Ġ s", "a n", "Ġ w", "o u", "Ġ o", "i s"),
    *("Ġo f", "in g", "Ġa n", "Ġan d", "Ġt o", "a t", "e n", "Ġ in", "Ġ is", "e d", "o r", "e s", "i t"),
    *("u s", "s er", "us er", "as s", "a s", "l l", "Ġ b", "Ġ c", "Ġ f", "Ġ m", "Ġ p", "h at", "Ġt hat"),
    *("Ġy ou", "Ġ y", "Ċ Ċ"),
)

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token texts in GPT-2's spelling of bytes, one type per token, and the ids of the special ones."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    end_of_text: int
    end_of_turn: int


def make_vocabulary(size: int) -> Vocabulary:
    """256 bytes, the merged words, filler such as `Ġw1000`, and ChatML's special tokens last."""
    merged = tuple(dict.fromkeys(merge.replace(" ", "") for merge in _MERGES))
    words = _byte_spellings() + merged
    filler = size - len(words) - len(_SPECIAL)
    if filler < 0:
        raise ValueError(f"a vocabulary needs at least {size - filler} tokens, not {size}")
    tokens = (*words, *(f"Ġw{number}" for number in range(filler)), *_SPECIAL)
    types = (_NORMAL,) * (size - len(_SPECIAL)) + (_CONTROL,) * len(_SPECIAL)
    return Vocabulary(tokens, types, _MERGES, end_of_text=size - 3, end_of_turn=size - 1)


def _byte_spellings() -> tuple[str, ...]:
    """GPT-2's printable character for each byte: itself where printable, else from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))
