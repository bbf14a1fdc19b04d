"""The prompt of a single answer: the words of the command line, and what is piped in.

hypuractl run m "why?"                 the words
hypuractl run m <file                  the whole file, one prompt
cat file | hypuractl run m "why?"      both, the file first, as Ollama does
"""

import codecs
import locale
import os
import select
import sys
from collections.abc import Callable, Sequence

MAX_PIPED_BYTES = 16 << 20
"""About four million tokens, more than any model's context."""
_PIECE_BYTES = 1 << 16
_SILENCE_SECONDS = 2.0
_FIRST_BYTE_SECONDS = 30.0
"""With words on the command line, how long to wait for the first byte: some schedulers keep an empty pipe open."""
_MOST_UNREADABLE = 0.3
"""Share of characters that are not UTF-8: text in Latin-1 has less, binary data and other alphabets have more."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks; UTF-32's begins as UTF-16's does, so it comes first."""


def prompt_of(words: Sequence[str], warn: Callable[[str], None]) -> str | None:
    """The prompt; None where there is none and stdin is a terminal. Raises ValueError. `warn` shows notes."""
    given = " ".join(readable(word, "the prompt", warn) for word in words)
    if sys.stdin.isatty():
        if words and not given.strip():
            raise ValueError("the prompt is empty; give one, or leave it out for a conversation")
        return given if words else None
    piped = _piped(bool(given), warn)
    parts = [part for part in (piped.rstrip("\r\n"), given) if part.strip()]
    if not parts:
        raise ValueError(
            "there is no prompt: nothing was given on the command line, and standard input is empty; "
            "give one as an argument or a file, or run it at a terminal for a conversation"
        )
    return "\n".join(parts)


def readable(text: str, what: str, warn: Callable[[str], None]) -> str:
    """Text from the system, with the bytes that Python could not decode turned into characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return decoded(os.fsencode(text), what, warn)
    return text


def decoded(data: bytes, what: str, warn: Callable[[str], None] | None) -> str:
    """The text of these bytes: UTF-8, what a byte order mark says, or the locale's encoding.

    Single invalid bytes become U+FFFD, and `warn` reports it. Raises ValueError for what is not text, and without
    `warn` for such bytes too.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{what} is not text: it has the byte order mark of {encoding.upper()}, but is invalid in it "
                    f"({error.reason} at byte {len(mark) + error.start}); save it as UTF-8"
                ) from error
    if b"\0" in data:
        raise ValueError(f"{what} is not text but binary data, with a zero byte at {data.index(0)}; give text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    local = codecs.lookup(locale.getencoding()).name
    if local not in ("utf-8", "ascii"):
        return data.decode(local, "replace")
    text = data.decode("utf-8", "replace")
    unreadable = text.count("\ufffd")
    if warn is None or unreadable > _MOST_UNREADABLE * len(text):
        raise ValueError(
            f"{what} is not text in UTF-8: {unreadable} of its {len(text)} characters are invalid; convert text with "
            "`iconv -f latin1 -t utf-8`, or give something else"
        )
    warn(
        f"note: {what} is not in UTF-8; {unreadable} invalid characters were replaced by \ufffd "
        "(`iconv -f latin1 -t utf-8` converts it)"
    )
    return text


def _piped(has_words: bool, warn: Callable[[str], None]) -> str:
    """All of standard input. With words on the command line, nothing if standard input stays silent for long."""
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        if not _readable_within(_SILENCE_SECONDS):
            without = "; without any, give it </dev/null" if has_words else ""
            warn(f"waiting for standard input to end{without} …")
            if has_words and not _readable_within(_FIRST_BYTE_SECONDS - _SILENCE_SECONDS):
                warn(f"note: nothing was piped in within {_FIRST_BYTE_SECONDS:g} s; the prompt is the words given")
                return ""
        while piece := os.read(0, _PIECE_BYTES):
            size_bytes += len(piece)
            if size_bytes > MAX_PIPED_BYTES:
                raise ValueError(
                    f"standard input has more than {MAX_PIPED_BYTES} bytes, more than any model can read; give less"
                )
            pieces.append(piece)
    except OSError as error:
        raise ValueError(f"standard input cannot be read: {error.strerror}; give a file or text") from error
    return decoded(b"".join(pieces), "standard input", warn)


def _readable_within(seconds: float) -> bool:
    """Whether standard input has data, or ends, within these seconds."""
    return bool(select.select([0], [], [], seconds)[0])
