"""A conversation: its messages, how answers are generated, and the next question."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.dialogue.answer import Answer, Display, receive
from hypura_client.sync import Client

_TEXT_MARK = '"""'


@dataclass(slots=True)
class AnswerOptions:
    """How answers are generated."""

    sampling: inference.Sampling = field(default_factory=inference.Sampling)
    limits: inference.Limits = field(default_factory=inference.Limits)
    think: bool | None = None
    think_level: str = ""
    tools_json: str = ""
    context_tokens: int = 0


@dataclass(slots=True)
class Conversation:
    """The messages are kept here, so that they survive the daemon.

    chats: the model has a chat template; a model without one continues each prompt by itself.
    """

    model: str
    chats: bool
    options: AnswerOptions
    system: str
    display: Display
    messages: list[inference.ChatMessage] = field(default_factory=list)

    def ask(self, client: Client, prompt: str) -> Answer:
        """The answer to the next prompt. Raises the errors of errors.py; the prompt is not kept then."""
        options = self.options
        use = inference.ModelUse(context_tokens=options.context_tokens)
        if not self.chats:
            events = client.generate(self.model, prompt, sampling=options.sampling, limits=options.limits, use=use)
            return receive(events, self.display)
        question = inference.ChatMessage(role="user", content=prompt)
        system = [inference.ChatMessage(role="system", content=self.system)] if self.system else []
        chat = client.chat(
            self.model,
            [*system, *self.messages, question],
            sampling=options.sampling,
            limits=options.limits,
            think=options.think,
            think_level=options.think_level,
            tools_json=options.tools_json,
            use=use,
        )
        answer = receive(chat, self.display)
        self.messages += [question, _answer_message(answer)]
        return answer

    def modelfile(self) -> str:
        """A Modelfile for the model with this conversation. Raises ValueError for text that it cannot hold."""
        lines = [f"FROM {self.model}"]
        if self.system:
            lines.append(f"SYSTEM {_quoted(self.system)}")
        lines += [f"PARAMETER {name} {value}" for name, value in set_parameters(self.options)]
        lines += [f"MESSAGE {message.role} {_quoted(message.content)}" for message in self.messages if message.content]
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
"""The names of the parameters that can be set, as Ollama has them."""


def set_parameter(options: AnswerOptions, name: str, values: list[str]) -> None:
    """Sets one of PARAMETERS. Raises ValueError for another name, or an unusable value."""
    try:
        if name == "stop":
            del options.limits.stop[:]
            options.limits.stop.extend(values)
        elif len(values) != 1:
            raise ValueError
        elif name == "num_predict":
            options.limits.max_tokens = int(values[0])
        elif name == "num_ctx":
            options.context_tokens = inference.ModelUse(context_tokens=int(values[0])).context_tokens
        elif name in _SAMPLING:
            setattr(options.sampling, name, _SAMPLING[name](values[0]))
        else:
            raise LookupError
    except LookupError:
        raise ValueError(f"there is no parameter {name!r} to set; there are {', '.join(PARAMETERS)}") from None
    except (ValueError, OverflowError):
        raise ValueError(f"{' '.join(values)!r} is not a value for {name}") from None


def set_parameters(options: AnswerOptions) -> list[tuple[str, str]]:
    """The names and values of the parameters that were set."""
    found = [(name, str(getattr(options.sampling, name))) for name in _SAMPLING if options.sampling.HasField(name)]
    if options.limits.HasField("max_tokens"):
        found.append(("num_predict", str(options.limits.max_tokens)))
    if options.context_tokens:
        found.append(("num_ctx", str(options.context_tokens)))
    return found + [("stop", _quoted(text)) for text in options.limits.stop]


def _quoted(text: str) -> str:
    if _TEXT_MARK in text:
        raise ValueError(f"a Modelfile cannot hold text with {_TEXT_MARK} in it: {text[:60]!r}")
    return f"{_TEXT_MARK}{text}{_TEXT_MARK}"


def _answer_message(answer: Answer) -> inference.ChatMessage:
    """The answer as a message of the conversation."""
    calls = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments_json}} for call in answer.tool_calls
    ]
    return inference.ChatMessage(
        role="assistant",
        content=answer.text,
        thinking=answer.thinking,
        tool_calls_json=json.dumps(calls) if calls else "",
    )
