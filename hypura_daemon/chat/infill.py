"""Filling in the middle: which tokens of a vocabulary say where the gap is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_KEYS = (
    ("prefix", ("fim_pre_token_id", "prefix_token_id")),
    ("suffix", ("fim_suf_token_id", "suffix_token_id")),
    ("middle", ("fim_mid_token_id", "middle_token_id")),
)


@dataclass(frozen=True, slots=True)
class InfillTokens:
    """The tokens that stand before the text before the gap, before the text behind it, and where the answer begins.

    Models without a token for the last have the text behind first.
    """

    prefix: int
    suffix: int
    middle: int | None

    def prompt(self, bos: Sequence[int], before: Sequence[int], behind: Sequence[int]) -> list[int]:
        """The prompt's tokens."""
        if self.middle is None:
            return [*bos, self.suffix, *behind, self.prefix, *before]
        return [*bos, self.prefix, *before, self.suffix, *behind, self.middle]


def infill_tokens(metadata: Mapping[str, Any]) -> InfillTokens | None:
    """The tokens that a model's file names; None if it does not name enough of them."""
    found: dict[str, int] = {}
    for part, keys in _KEYS:
        values = (metadata.get(f"tokenizer.ggml.{key}") for key in keys)
        known = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
        if known:
            found[part] = known[0]
    if "prefix" not in found or "suffix" not in found:
        return None
    return InfillTokens(found["prefix"], found["suffix"], found.get("middle"))
