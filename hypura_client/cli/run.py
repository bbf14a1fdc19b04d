"""hypuractl run: one answer, or a conversation."""

import sys
import time
from typing import Annotated

import typer

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.answer import Answer, answer_dict, print_summary, receive, write_text
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


class Conversation:
    """The messages so far, and how to ask for the next answer."""

    def __init__(
        self,
        client: Client,
        model: str,
        chats: bool,
        sampling: inference.Sampling,
        limits: inference.Limits,
        system: str | None,
        think: bool | None,
    ) -> None:
        self._client = client
        self._model = model
        self._chats = chats
        self._sampling = sampling
        self._limits = limits
        self._think = think
        self._messages = [inference.ChatMessage(role="system", content=system)] if system else []

    def ask(self, prompt: str, *, quiet: bool = False) -> Answer:
        """The answer to the next prompt; a model without chat template continues each prompt by itself."""
        show = (lambda text: None) if quiet else write_text
        if not self._chats:
            return receive(
                self._client.generate(self._model, prompt, sampling=self._sampling, limits=self._limits), show
            )
        self._messages.append(inference.ChatMessage(role="user", content=prompt))
        events = self._client.chat(
            self._model, self._messages, sampling=self._sampling, limits=self._limits, think=self._think
        )
        try:
            answer = receive(events, show)
        except HypuraError:
            self._messages.pop()
            raise
        self._messages.append(inference.ChatMessage(role="assistant", content=answer.text))
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
    json_output: Json = False,
) -> None:
    """Load a model and answer a prompt, or hold a conversation when there is none.

    In a conversation Ctrl-C ends the answer and Ctrl-D the conversation.

    \b
    Examples:
      hypuractl run qwen3 "Why is the sky blue?" --memory 4GB
      hypuractl run qwen3
      hypuractl run model.gguf "hello" --max-tokens 32 --temperature 0 --json
    """
    if json_output and prompt is None:
        raise typer.BadParameter("--json needs a prompt", param_hint="PROMPT")
    options = load_options(memory, context, weight_cache, exact)
    with connected() as client:
        name = registered(client, model)
        chats = bool(client.show(name).chat_template)
        if system and not chats:
            raise typer.BadParameter(f"{name} has no chat template to put it into", param_hint="--system")
        started_seconds = time.time()
        status = _ready(client, name, options)
        conversation = Conversation(
            client,
            name,
            chats,
            inference.Sampling(temperature=temperature, seed=seed),
            inference.Limits(max_tokens=max_tokens, ignore_eos=ignore_eos),
            system,
            think,
        )
        if prompt is None:
            _converse(conversation, status)
            return
        answer = conversation.ask(prompt, quiet=json_output)
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
