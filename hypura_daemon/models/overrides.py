"""What a Modelfile sets over its model's file: template, system message, parameters, example messages, licence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypura_daemon.errors import InvalidRequest

TemplateStyle = Literal["jinja", "go", ""]
MAX_TEXT_CHARACTERS = 1 << 20
MAX_MESSAGES = 4096
MAX_PARAMETERS = 1024
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


@dataclass(frozen=True, slots=True)
class Overrides:
    """What replaces the file's own values; empty fields override nothing.

    parameters are pairs of a name and its value as text, in their order; a name with several
    values, such as stop, occurs once for each. messages are pairs of a role and a content.
    """

    template: str = ""
    template_style: TemplateStyle = ""
    system: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    license: str = ""

    def __bool__(self) -> bool:
        """Whether anything is overridden."""
        return self != Overrides()

    def over(self, base: "Overrides") -> "Overrides":
        """These overrides on top of those of the model that this one was created from.

        A parameter set here replaces all its values there; messages or a licence here replace those there.
        """
        named = {name for name, _ in self.parameters}
        inherited = tuple(pair for pair in base.parameters if pair[0] not in named)
        return Overrides(
            template=self.template or base.template,
            template_style=self.template_style if self.template else base.template_style,
            system=self.system or base.system,
            parameters=inherited + self.parameters,
            messages=self.messages or base.messages,
            license=self.license or base.license,
        )


NO_OVERRIDES = Overrides()


def style_of(template: str) -> TemplateStyle:
    """The language of a template: jinja has {% … %}, or names without a dot; Go has neither."""
    if not template:
        return ""
    if "{%" in template or "{#" in template:
        return "jinja"
    go_marks = ("{{ .", "{{.", "{{-", "{{ if", "{{if", "{{ range", "{{range", "{{ $", "{{$", "{{/*", "{{ end", "{{end")
    if any(mark in template for mark in go_marks) and not any(mark in template for mark in ("messages[", "{{ message")):
        return "go"
    return "jinja" if "{{" in template else "go"


def overrides_dict(overrides: Overrides) -> dict[str, object]:
    """The overrides that are set, as JSON data for the catalogue."""
    whole: dict[str, object] = {
        "template": overrides.template,
        "template_style": overrides.template_style,
        "system": overrides.system,
        "parameters": [list(pair) for pair in overrides.parameters],
        "messages": [list(pair) for pair in overrides.messages],
        "license": overrides.license,
    }
    return {key: value for key, value in whole.items() if value}


def overrides_from(data: object) -> Overrides:
    """The overrides from JSON data. Raises ValueError."""
    if not isinstance(data, Mapping):
        raise ValueError("overrides must be an object")
    template = _text(data, "template")
    style = data.get("template_style", "")
    if style not in ("jinja", "go", ""):
        raise ValueError("template_style must be jinja or go")
    return Overrides(
        template=template,
        template_style=style or style_of(template),
        system=_text(data, "system"),
        parameters=_pairs(data, "parameters", MAX_PARAMETERS),
        messages=_pairs(data, "messages", MAX_MESSAGES),
        license=_text(data, "license"),
    )


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"{key} must be text of at most {MAX_TEXT_CHARACTERS} characters")
    return value


def _pairs(data: Mapping[str, object], key: str, most: int) -> tuple[tuple[str, str], ...]:
    value = data.get(key, [])
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > most:
        raise ValueError(f"{key} must be a list of at most {most} pairs")
    pairs = []
    for item in value:
        if not isinstance(item, list | tuple) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise ValueError(f"{key} must be pairs of texts")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def parameter_value(name: str, text: str) -> Value:
    """The value of a parameter's text. Raises InvalidRequest for an unknown name or a wrong type."""
    if name not in KNOWN:
        raise InvalidRequest(f"unknown parameter {name[:80]!r}; the parameters are {', '.join(sorted(KNOWN))}")
    if len(text) > _MAX_VALUE_CHARACTERS:
        raise InvalidRequest(
            f"parameter {name} has {len(text)} characters; at most {_MAX_VALUE_CHARACTERS} are allowed"
        )
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
    """The pairs from JSON such as {"temperature": 0.7, "stop": ["a", "b"]}. Raises InvalidRequest.

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
    """The pairs with their values in the usual notation. Raises InvalidRequest as parameter_value does."""
    return tuple((name, json_text(parameter_value(name, text))) for name, text in pairs)


def parameters_text(pairs: Iterable[tuple[str, str]]) -> str:
    """A line for each pair: the name, and the value, in quotes if it is text."""
    return "\n".join(f"{name:<{_COLUMNS}} {_escaped(text) if name in _LISTS else text}" for name, text in pairs)


def json_text(value: Value) -> str:
    """A value as a Modelfile writes it: 0.7, true, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """The text in quotes, with quotes, backslashes, line breaks and tabs escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _kind(name: str) -> str:
    if name in _LISTS:
        return "text, or a list of texts"
    return "true or false" if name in _SWITCHES else "a number"
