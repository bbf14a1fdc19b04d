"""Text from token bytes: whatever the cuts, the same text, nothing of a stop string, no broken characters."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hypura_worker.engine.generation import TextStream


def _stream(data: bytes, cuts: list[int], stop: list[str]) -> tuple[list[str], TextStream]:
    stream = TextStream(stop)
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    pieces = [stream.push(data[a:b]) for a, b in pairwise(edges)]
    return [*pieces, stream.finish()], stream


@given(st.text(), st.lists(st.integers(0, 1000)))
def test_any_cut_gives_the_text(text: str, cuts: list[int]) -> None:
    pieces, _ = _stream(text.encode(), cuts, [])
    assert "".join(pieces) == text
    assert "�" not in "".join(pieces) or "�" in text


@given(st.text("abc"), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.lists(st.integers(0, 1000)))
def test_a_stop_string_ends_it_wherever_tokens_end(text: str, stop: list[str], cuts: list[int]) -> None:
    pieces, stream = _stream(text.encode(), cuts, stop)
    found = [at for at in (text.find(s) for s in stop) if at >= 0]
    if not found:
        assert "".join(pieces) == text
        assert not stream.stopped
        return
    # Two stop strings may overlap: the one that is whole first ends it.
    assert stream.stopped
    assert text.startswith("".join(pieces))
    assert all(s not in "".join(pieces) for s in stop)


def test_a_character_is_held_back_until_it_is_whole() -> None:
    stream = TextStream([])
    assert [stream.push(bytes([b])) for b in "€".encode()] == ["", "", "€"]


@given(st.text(), st.integers(0, 1000), st.lists(st.integers(0, 1000)))
def test_a_last_character_that_never_became_whole_is_dropped(text: str, end: int, cuts: list[int]) -> None:
    """Seen: a limit within an emoji gave U+FFFD at the end."""
    data = text.encode()[: end % (len(text.encode()) + 1)]
    pieces, _ = _stream(data, cuts, [])
    assert "".join(pieces) == data.decode(errors="ignore")


def test_bytes_that_are_no_character_are_replaced() -> None:
    stream = TextStream([])
    assert stream.push(b"a\xe2\x82b\xff") == "a�b�"
    assert stream.push(b"\xf0\x9f") + stream.push(b"\x98 c\xf0\x9f\x98") == "� c"
    assert stream.finish() == ""


def test_what_may_become_a_stop_string_is_held_back() -> None:
    stream = TextStream(["</end>"])
    assert stream.push(b"so </e") == "so "
    assert stream.push(b"lse") == "</else"
    assert stream.push(b" </end> more") == " "
    assert stream.push(b"never") == ""
    assert stream.finish() == ""
