"""Filling in the middle: the tokens of a vocabulary that mark the gap."""

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
    """The tokens before the text that precedes the gap, before the text that follows it, and before the answer.

    For models without a token for the answer, the text that follows the gap comes first.
    """

    prefix: int
    suffix: int
    middle: int | None

    def prompt(self, bos: Sequence[int], before: Sequence[int], after: Sequence[int]) -> list[int]:
        """The prompt's tokens."""
        if self.middle is None:
            return [*bos, self.suffix, *after, self.prefix, *before]
        return [*bos, self.prefix, *before, self.suffix, *after, self.middle]


def infill_tokens(metadata: Mapping[str, Any]) -> InfillTokens | None:
    """The tokens from a model's metadata; None if those for prefix and suffix are not both there."""
    found: dict[str, int] = {}
    for part, keys in _KEYS:
        values = (metadata.get(f"tokenizer.ggml.{key}") for key in keys)
        known = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
        if known:
            found[part] = known[0]
    if "prefix" not in found or "suffix" not in found:
        return None
    return InfillTokens(found["prefix"], found["suffix"], found.get("middle"))
