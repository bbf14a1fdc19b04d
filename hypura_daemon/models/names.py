"""Names of models: [HOST/][NAMESPACE/]NAME[:TAG], as Ollama writes them; no tag means latest.

Ollama's own registry and its namespace library are left out: registry.ollama.ai/library/qwen3 is qwen3.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from hypura_daemon.errors import InvalidModelName
from hypura_daemon.models.gguf.splits import part_of

MAX_NAME_CHARACTERS = 255
MAX_PART_CHARACTERS = 96  # The longest name of a repository on Hugging Face.
_MAX_MADE_CHARACTERS = 64  # Leaves room for a number at the end.
DEFAULT_TAG = "latest"
DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
HUGGING_FACE = "hf.co"
_ALIASES = {DEFAULT_HOST: "", "ollama.com": "", "huggingface.co": HUGGING_FACE}
_SCHEME = re.compile(r"https?://", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*(?::[0-9]{1,5})?", re.ASCII)
_WORD = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*", re.ASCII)
_QUANTIZATION = re.compile(
    r"(?:ud-)?(?:i?q[1-8](?:_[a-z0-9]+){0,3}|tq[12]_0|mxfp4(?:_moe)?|nvfp4|bf16|f16|f32|fp16|fp32)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ModelName:
    """A valid name in its parts; host and namespace may be empty."""

    host: str
    namespace: str
    name: str
    tag: str

    def __str__(self) -> str:
        """The whole name, with its tag."""
        return "/".join(part for part in (self.host, self.namespace, self.name) if part) + f":{self.tag}"


def parse_name(text: str) -> ModelName:
    """The parts of a name that came from outside. Raises InvalidModelName."""
    if not text:
        raise InvalidModelName("the model's name is empty; give one such as qwen3:latest")
    if len(text) > MAX_NAME_CHARACTERS:
        raise InvalidModelName(
            f"the model's name {text[:40]!r}… has {len(text)} characters; at most {MAX_NAME_CHARACTERS} are allowed"
        )
    *folders, last = _SCHEME.sub("", text, count=1).split("/") if _SCHEME.match(text) else text.split("/")
    name, colon, tag = last.partition(":")
    if not colon:
        tag = DEFAULT_TAG
    if len(folders) > 2:
        raise _bad(text, "it has more than two slashes")
    host = folders[0] if len(folders) == 2 else ""
    namespace = folders[-1] if folders else ""
    if len(folders) == 2:
        _check(text, "host", host, _HOST)
    if folders:
        _check(text, "namespace", namespace, _WORD)
    _check(text, "name", name, _WORD)
    _check(text, "tag", tag, _WORD)
    host = _ALIASES.get(host.lower(), host.lower())
    if not host and namespace.lower() == DEFAULT_NAMESPACE:
        namespace = ""
    return ModelName(host, namespace, name, tag)


def full_name(text: str) -> str:
    """The name with its tag: qwen3 becomes qwen3:latest. Raises InvalidModelName."""
    return str(parse_name(text))


def name_for(path: Path) -> str:
    """A name made from a file's name: Qwen3-8B-Q4_K_M.gguf becomes qwen3-8b:q4_k_m."""
    words, tag = quantization_in(_words(path.name).lower())
    return str(parse_name(f"{words[:_MAX_MADE_CHARACTERS].strip('-.') or 'model'}:{tag or DEFAULT_TAG}"))


def tag_for(path: Path) -> str:
    """A tag for one of a repository's files: its quantization as Q4_K_M, else the file's name."""
    words = _words(path.name)
    if is_quantization(words):
        return words.upper()
    return quantization_in(words)[1].upper() or words[:_MAX_MADE_CHARACTERS].strip("-.") or DEFAULT_TAG


def quantization_in(words: str) -> tuple[str, str]:
    """The part of a file's name before its quantization, and the quantization, which is empty if there is none."""
    for start in (match.start() for match in re.finditer(r"[._-]", words)):
        if start and _QUANTIZATION.fullmatch(words[start + 1 :]):
            return words[:start], words[start + 1 :]
    return words, ""


def is_quantization(word: str) -> bool:
    """Whether a word names a quantization, as Q4_K_M, IQ2_XS or BF16 do."""
    return _QUANTIZATION.fullmatch(word) is not None


def _words(file: str) -> str:
    """A file's name without its ending and part number, in the characters that names have."""
    part = part_of(file)
    stem = part.prefix if part else re.sub(r"(?i)\.gguf$", "", file)
    words = re.sub(r"[^a-zA-Z0-9_.-]+", "-", stem)
    return re.sub(r"\.{2,}", ".", words).strip("-.")


def _check(text: str, what: str, part: str, pattern: re.Pattern[str]) -> None:
    if not part:
        raise _bad(text, f"its {what} is empty")
    if len(part) > MAX_PART_CHARACTERS:
        raise _bad(text, f"its {what} has {len(part)} characters, more than {MAX_PART_CHARACTERS}")
    if ".." in part or not pattern.fullmatch(part):
        raise _bad(text, f"its {what} {part!r} has characters that are not allowed, or not at that place")


def _bad(text: str, why: str) -> InvalidModelName:
    return InvalidModelName(
        f"{text!r} is not a usable model name: {why}; use letters, digits, '_', '-' and '.', as in qwen3-8b:q4_k_m"
    )
