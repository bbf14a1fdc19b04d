"""A Modelfile's parameters: which there are, their types, and their values as text and back."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.overrides import MAX_PARAMETERS

_INTEGERS = frozenset(
    (
        "num_keep seed num_predict top_k repeat_last_n num_ctx num_batch num_gpu main_gpu num_thread draft_num_predict "
        "mirostat"
    ).split()
)
_NUMBERS = frozenset(
    (
        "temperature top_p min_p typical_p tfs_z repeat_penalty presence_penalty frequency_penalty mirostat_tau "
        "mirostat_eta"
    ).split()
)
_SWITCHES = frozenset("use_mmap use_mlock low_vram f16_kv vocab_only logits_all numa penalize_newline".split())
_LISTS = frozenset(("stop",))
KNOWN = _INTEGERS | _NUMBERS | _SWITCHES | _LISTS
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")
_COLUMNS = 30
_MAX_VALUE_CHARACTERS = 4096
_NUMBER_LIMIT = 1e15

Value = int | float | bool | str


def parameter_value(name: str, text: str) -> Value:
    """The value that a parameter's text stands for. Raises InvalidRequest for an unknown name or a wrong type."""
    if name not in KNOWN:
        raise InvalidRequest(f"unknown parameter {name[:80]!r}; the parameters are {', '.join(sorted(KNOWN))}")
    if len(text) > _MAX_VALUE_CHARACTERS:
        raise InvalidRequest(f"parameter {name} has {len(text)} characters; at most {_MAX_VALUE_CHARACTERS} are taken")
    if name in _LISTS:
        return text
    if name in _SWITCHES:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise InvalidRequest(f"parameter {name} is {text!r}; give true or false")
        return text.lower() in _TRUE
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > _NUMBER_LIMIT or (name in _INTEGERS and value != int(value)):
        kind = "a whole number" if name in _INTEGERS else "a number"
        raise InvalidRequest(f"parameter {name} is {text!r}; give {kind}")
    return int(value) if name in _INTEGERS else value


def parameter_pairs(parameters: Any) -> tuple[tuple[str, str], ...]:
    """The pairs out of JSON, as {"temperature": 0.7, "stop": ["a", "b"]}. Raises InvalidRequest.

    null and empty lists set nothing.
    """
    if not isinstance(parameters, Mapping) or len(parameters) > MAX_PARAMETERS:
        raise InvalidRequest(f"parameters must be an object of at most {MAX_PARAMETERS} names and values")
    pairs = []
    for name, given in parameters.items():
        for value in given if isinstance(given, list) and name in _LISTS else [given]:
            if value is None:
                continue
            if isinstance(value, list | dict) or (name in _LISTS and not isinstance(value, str)):
                raise InvalidRequest(f"parameter {name} is {str(value)[:80]}; give {_kind(name)}")
            pairs.append((name, json_text(value)))
            if len(pairs) > MAX_PARAMETERS:
                raise InvalidRequest(f"there are more than {MAX_PARAMETERS} parameters; give fewer")
    return tuple(pairs)


def checked_pairs(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The pairs, their values as they are written best. Raises InvalidRequest as parameter_value does."""
    return tuple((name, json_text(parameter_value(name, text))) for name, text in pairs)


def parameters_text(pairs: Iterable[tuple[str, str]]) -> str:
    """A line for each: the name, and the value, in quotes where it is text."""
    return "\n".join(f"{name:<{_COLUMNS}} {quoted(text) if name in _LISTS else text}" for name, text in pairs)


def json_text(value: Value) -> str:
    """A value as a Modelfile has it: 0.7, true, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def quoted(text: str) -> str:
    """The text in quotes, what would end them or the line escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _kind(name: str) -> str:
    if name in _LISTS:
        return "text, or a list of texts"
    return "true or false" if name in _SWITCHES else "a number"
