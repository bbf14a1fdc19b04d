"""What a Modelfile says of a model beside its weights: template, system message, parameters, examples, licence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

TemplateStyle = Literal["jinja", "go", ""]
MAX_TEXT_CHARACTERS = 1 << 20
MAX_MESSAGES = 4096
MAX_PARAMETERS = 1024


@dataclass(frozen=True, slots=True)
class Overrides:
    """What goes before the file's own; what is empty overrides nothing.

    parameters are pairs of a name and its value as text, in their order; a name that takes several
    values, such as stop, is there once for each. messages are pairs of a role and a content.
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
        """These before those of the model that this one was made from.

        A parameter that is set here replaces all its values there; messages and a licence here replace all there.
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
    """Which language a template is written in: jinja has {% … %}, or names without a dot; Go has neither."""
    if not template:
        return ""
    if "{%" in template or "{#" in template:
        return "jinja"
    go_marks = ("{{ .", "{{.", "{{-", "{{ if", "{{if", "{{ range", "{{range", "{{ $", "{{$", "{{/*", "{{ end", "{{end")
    if any(mark in template for mark in go_marks) and not any(mark in template for mark in ("messages[", "{{ message")):
        return "go"
    return "jinja" if "{{" in template else "go"


def overrides_dict(overrides: Overrides) -> dict[str, object]:
    """As JSON data for the catalogue; only what is set."""
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
    """The overrides out of JSON data. Raises ValueError."""
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
