"""A conversation: what was said so far, how answers shall be, and the next question."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.dialogue.answer import Answer, Display, receive
from hypura_client.sync import Client

_TEXT_MARK = '"""'


@dataclass(slots=True)
class Wishes:
    """How answers shall be."""

    sampling: inference.Sampling = field(default_factory=inference.Sampling)
    limits: inference.Limits = field(default_factory=inference.Limits)
    think: bool | None = None
    think_level: str = ""
    tools_json: str = ""
    context_tokens: int = 0


@dataclass(slots=True)
class Conversation:
    """The messages are kept here, so a daemon that ends takes none of them along.

    chats: the model has a chat template; without one it continues each prompt by itself.
    """

    model: str
    chats: bool
    wishes: Wishes
    system: str
    display: Display
    messages: list[inference.ChatMessage] = field(default_factory=list)

    def ask(self, client: Client, prompt: str) -> Answer:
        """The answer to the next prompt. Raises the tree of errors.py; then the prompt is not part of it."""
        wishes = self.wishes
        use = inference.ModelUse(context_tokens=wishes.context_tokens)
        if not self.chats:
            events = client.generate(self.model, prompt, sampling=wishes.sampling, limits=wishes.limits, use=use)
            return receive(events, self.display)
        asked = inference.ChatMessage(role="user", content=prompt)
        system = [inference.ChatMessage(role="system", content=self.system)] if self.system else []
        chat = client.chat(
            self.model,
            [*system, *self.messages, asked],
            sampling=wishes.sampling,
            limits=wishes.limits,
            think=wishes.think,
            think_level=wishes.think_level,
            tools_json=wishes.tools_json,
            use=use,
        )
        answer = receive(chat, self.display)
        self.messages += [asked, _said(answer)]
        return answer

    def modelfile(self) -> str:
        """A Modelfile that makes the model with this conversation in it. Raises ValueError for text it cannot hold."""
        lines = [f"FROM {self.model}"]
        if self.system:
            lines.append(f"SYSTEM {_quoted(self.system)}")
        lines += [f"PARAMETER {name} {value}" for name, value in set_parameters(self.wishes)]
        lines += [f"MESSAGE {said.role} {_quoted(said.content)}" for said in self.messages if said.content]
        return "\n".join(lines) + "\n"


_SAMPLING: dict[str, Callable[[str], float]] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "repeat_penalty": float,
    "repeat_last_n": int,
    "presence_penalty": float,
    "frequency_penalty": float,
    "seed": int,
}
PARAMETERS = (*_SAMPLING, "num_predict", "num_ctx", "stop")
"""What can be set, by Ollama's names."""


def set_parameter(wishes: Wishes, name: str, values: list[str]) -> None:
    """Set one of PARAMETERS. Raises ValueError for another, or a value that it cannot have."""
    try:
        if name == "stop":
            del wishes.limits.stop[:]
            wishes.limits.stop.extend(values)
        elif len(values) != 1:
            raise ValueError
        elif name == "num_predict":
            wishes.limits.max_tokens = int(values[0])
        elif name == "num_ctx":
            wishes.context_tokens = inference.ModelUse(context_tokens=int(values[0])).context_tokens
        elif name in _SAMPLING:
            setattr(wishes.sampling, name, _SAMPLING[name](values[0]))
        else:
            raise LookupError
    except LookupError:
        raise ValueError(f"there is no parameter {name!r} to set; there are {', '.join(PARAMETERS)}") from None
    except (ValueError, OverflowError):
        raise ValueError(f"{' '.join(values)!r} is no value for {name}") from None


def set_parameters(wishes: Wishes) -> list[tuple[str, str]]:
    """Names and values of what was set."""
    found = [(name, str(getattr(wishes.sampling, name))) for name in _SAMPLING if wishes.sampling.HasField(name)]
    if wishes.limits.HasField("max_tokens"):
        found.append(("num_predict", str(wishes.limits.max_tokens)))
    if wishes.context_tokens:
        found.append(("num_ctx", str(wishes.context_tokens)))
    return found + [("stop", _quoted(text)) for text in wishes.limits.stop]


def _quoted(text: str) -> str:
    if _TEXT_MARK in text:
        raise ValueError(f"a Modelfile cannot hold text with {_TEXT_MARK} in it: {text[:60]!r}")
    return f"{_TEXT_MARK}{text}{_TEXT_MARK}"


def _said(answer: Answer) -> inference.ChatMessage:
    """The assistant's turn, for the next one."""
    calls = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments_json}} for call in answer.tool_calls
    ]
    return inference.ChatMessage(
        role="assistant",
        content=answer.text,
        thinking=answer.thinking,
        tool_calls_json=json.dumps(calls) if calls else "",
    )
