"""hypuractl run: one answer, or a conversation."""

import time
from pathlib import Path
from typing import Annotated

import typer

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.connection import Connection, connection, registered_name
from hypura_client.cli.dialogue.answer import Display, answer_dict, print_summary, write_text, write_thinking
from hypura_client.cli.dialogue.conversation import AnswerOptions, Conversation
from hypura_client.cli.dialogue.terminal import Dialogue
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
from hypura_client.cli.planning import load_with_progress
from hypura_client.cli.prompt import prompt_of, readable
from hypura_client.sync import Client

MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        min=1,
        max=2**31 - 1,
        help="Stop after N tokens; by default where the context ends.",
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
IgnoreEos = Annotated[bool, typer.Option("--ignore-eos", help="Continue where the model would end; for measuring.")]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="Instructions for a chat model.")]
Think = Annotated[
    bool | None,
    typer.Option("--think/--no-think", help="Whether to think first; by default as the model does."),
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


def _discard(text: str) -> None:
    pass


def run(
    model: Model,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROMPT]...", help="What to answer, after what is piped in; else a conversation."),
    ] = None,
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
    """Load a model and answer a prompt, or hold a conversation where there is none and stdin is a terminal.

    The prompt is what is piped in, or the arguments, or both in this order. In a conversation Ctrl-C ends the
    answer, Ctrl-D or /bye the conversation, and /? lists its commands.

    \b
    Examples:
      hypuractl run qwen3 "Why is the sky blue?" --memory 4GB
      hypuractl run qwen3
      cat report.txt | hypuractl run qwen3 "Summarise this:"
      hypuractl run qwen3 <questions.txt
      hypuractl run qwen3 "Is 1001 prime?" --think
      hypuractl run model.gguf "hello" --max-tokens 32 --temperature 0 --json
    """
    try:
        prompt = prompt_of(words or (), note)
        system = readable(system or "", "--system", note)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="PROMPT") from None
    if json_output and prompt is None:
        raise typer.BadParameter("--json needs a prompt", param_hint="PROMPT")
    options = load_options(memory, context, weight_cache, exact)
    answer_options = AnswerOptions(
        inference.Sampling(temperature=temperature, seed=seed),
        inference.Limits(max_tokens=max_tokens, ignore_eos=ignore_eos),
        think,
        think_level,
        _tools_json(tools) if tools is not None else "",
    )
    display = Display(
        _discard if json_output else write_text, _discard if json_output or hide_thinking else write_thinking
    )

    def load(connection: Connection, model: str) -> tuple[str, bool, control.ModelStatus]:
        client = connection.client
        name = registered_name(client, model)
        chats = bool(client.show(name).chat_template)
        if system and not chats and model is given:
            raise typer.BadParameter(f"{name} has no chat template to put it into", param_hint="--system")
        return name, chats, _ready(client, name, options)

    given = model
    with connection() as found:
        started_seconds = time.time()
        name, chats, status = load(found, model)
        conversation = Conversation(name, chats, answer_options, system, display)
        if prompt is None:
            Dialogue(found, conversation, load, status).run()
            return
        answer = conversation.ask(found.client, prompt)
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
    """The model's status once it is loaded. Without options, a model that is loaded already is used as it is."""
    if options == control.LoadOptions():
        for status in client.status().models:
            if status.name == name and status.state == control.MODEL_STATE_READY:
                return status
    return load_with_progress(client, name, options)
