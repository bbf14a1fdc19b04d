"""hypuractl run: one answer, or a conversation."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.answer import Answer, Display, answer_dict, print_summary, receive, write_text, write_thinking
from hypura_client.cli.loading import load_with_progress
from hypura_client.cli.options import (
    Context,
    Exact,
    Json,
    Memory,
    Model,
    WeightCacheLimit,
    load_options,
)
from hypura_client.cli.output import note, print_json
from hypura_client.cli.session import connected, registered
from hypura_client.errors import DaemonError, HypuraError
from hypura_client.sync import Client

MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", metavar="N", min=1, max=2**31 - 1, help="Stop after N tokens; else at the end of context."
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", min=0.0, max=100.0, metavar="T", help="0 always takes the likeliest token."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=2**32 - 1, metavar="N", help="The same seed gives the same answer."),
]
IgnoreEos = Annotated[bool, typer.Option("--ignore-eos", help="Go on where the model would end; for measuring.")]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="Instructions for a chat model.")]
Think = Annotated[
    bool | None,
    typer.Option("--think/--no-think", help="Whether to think first; the model's default if left out."),
]
ThinkLevel = Annotated[
    str, typer.Option("--think-level", metavar="LEVEL", help="How hard to think: low, medium, high or max.")
]
HideThinking = Annotated[bool, typer.Option("--hide-thinking", help="Do not show the thinking.")]
Tools = Annotated[
    Path | None,
    typer.Option("--tools", metavar="FILE", help="Tools that the model may call: a JSON array in OpenAI's form."),
]
MAX_TOOLS_BYTES = 1 << 20


def _nothing(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Wishes:
    """How answers of a conversation shall be."""

    sampling: inference.Sampling
    limits: inference.Limits
    think: bool | None = None
    think_level: str = ""
    tools_json: str = ""


class Conversation:
    """The messages so far, and how to ask for the next answer."""

    def __init__(
        self,
        client: Client,
        model: str,
        chats: bool,
        wishes: Wishes,
        system: str | None,
        display: Display,
    ) -> None:
        self._client = client
        self._model = model
        self._chats = chats
        self._wishes = wishes
        self._display = display
        self._messages = [inference.ChatMessage(role="system", content=system)] if system else []

    def ask(self, prompt: str) -> Answer:
        """The answer to the next prompt; a model without chat template continues each prompt by itself."""
        wishes = self._wishes
        if not self._chats:
            events = self._client.generate(self._model, prompt, sampling=wishes.sampling, limits=wishes.limits)
            return receive(events, self._display)
        self._messages.append(inference.ChatMessage(role="user", content=prompt))
        chat = self._client.chat(
            self._model,
            self._messages,
            sampling=wishes.sampling,
            limits=wishes.limits,
            think=wishes.think,
            think_level=wishes.think_level,
            tools_json=wishes.tools_json,
        )
        try:
            answer = receive(chat, self._display)
        except HypuraError:
            self._messages.pop()
            raise
        self._messages.append(_said(answer))
        return answer


def run(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="What to answer; without it, a conversation.")] = None,
    memory: Memory = None,
    context: Context = None,
    weight_cache: WeightCacheLimit = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    ignore_eos: IgnoreEos = False,
    exact: Exact = False,
    system: System = None,
    think: Think = None,
    think_level: ThinkLevel = "",
    hide_thinking: HideThinking = False,
    tools: Tools = None,
    json_output: Json = False,
) -> None:
    """Load a model and answer a prompt, or hold a conversation when there is none.

    In a conversation Ctrl-C ends the answer and Ctrl-D the conversation.

    \b
    Examples:
      hypuractl run qwen3 "Why is the sky blue?" --memory 4GB
      hypuractl run qwen3
      hypuractl run qwen3 "Is 1001 prime?" --think
      hypuractl run model.gguf "hello" --max-tokens 32 --temperature 0 --json
    """
    if json_output and prompt is None:
        raise typer.BadParameter("--json needs a prompt", param_hint="PROMPT")
    options = load_options(memory, context, weight_cache, exact)
    tools_json = _tools_json(tools) if tools is not None else ""
    with connected() as client:
        name = registered(client, model)
        chats = bool(client.show(name).chat_template)
        if system and not chats:
            raise typer.BadParameter(f"{name} has no chat template to put it into", param_hint="--system")
        started_seconds = time.time()
        status = _ready(client, name, options)
        wishes = Wishes(
            inference.Sampling(temperature=temperature, seed=seed),
            inference.Limits(max_tokens=max_tokens, ignore_eos=ignore_eos),
            think,
            think_level,
            tools_json,
        )
        display = Display(
            _nothing if json_output else write_text, _nothing if json_output or hide_thinking else write_thinking
        )
        conversation = Conversation(client, name, chats, wishes, system, display)
        if prompt is None:
            _converse(conversation, status)
            return
        answer = conversation.ask(prompt)
        if not json_output:
            write_text("\n")
        if answer.finished is None:
            raise KeyboardInterrupt
        if json_output:
            fresh = status.loaded_at_seconds >= started_seconds
            load_seconds = status.loaded.load_seconds if fresh else 0.0
            print_json(answer_dict(answer, answer.finished, status, load_seconds))
        else:
            print_summary(answer.finished, status)


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


def _tools_json(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOOLS_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="--tools") from None
    if len(data) > MAX_TOOLS_BYTES:
        raise typer.BadParameter(f"{path} is larger than {MAX_TOOLS_BYTES} bytes", param_hint="--tools")
    return text


def _ready(client: Client, name: str, options: control.LoadOptions) -> control.ModelStatus:
    """The model's status once it is loaded. Without options a loaded model is taken as it is."""
    if options == control.LoadOptions():
        for status in client.status().models:
            if status.name == name and status.state == control.MODEL_STATE_READY:
                return status
    return load_with_progress(client, name, options)


def _converse(conversation: Conversation, status: control.ModelStatus) -> None:
    """Prompts from stdin until it ends."""
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        import readline  # noqa: F401 - gives input() its line editing

        note("Ctrl-C ends an answer, Ctrl-D the conversation.")
    while True:
        try:
            prompt = input(">>> " if at_terminal else "")
        except EOFError:
            return
        if not prompt.strip():
            continue
        try:
            answer = conversation.ask(prompt)
        except DaemonError as error:
            # A model whose worker died is loaded again by the next prompt.
            note(f"error: {error}")
            continue
        write_text("\n")
        if answer.finished is None:
            note("(interrupted)")
        else:
            print_summary(answer.finished, status)
