"""hypuractl models, add, rm, cp, create, pull, show: the registered models."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hypura.sizes import size_text
from hypura.v1 import control_pb2 as control
from hypura.v1 import placement_pb2 as placement
from hypura_client.calls import pulled_model
from hypura_client.cli.connection import connected, passed_over_text, registered_name
from hypura_client.cli.options import Json, Model, Tensors
from hypura_client.cli.output import (
    as_dict,
    enum_text,
    note,
    print_facts,
    print_json,
    print_line,
    print_table,
    safe,
    stderr_console,
)
from hypura_client.cli.prompt import decoded
from hypura_client.errors import InvalidRequest, UnexpectedReply
from hypura_client.sync import Client

EXIT_PASSED_OVER = 1
"""The folder's models are registered, but not all of its files are models that can be run."""
MAX_MODELFILE_BYTES = 16 << 20
_FROM = re.compile(r"(?im)^([ \t]*FROM[ \t]+)(\"?)([^\n\"]+?)(\"?[ \t]*\r?)$")
_SHOWN_DIGEST_CHARACTERS = 12


def list_models(json_output: Json = False) -> None:
    """List the registered models.

    \b
    Examples:
      hypuractl models
      hypuractl models --json
    """
    with connected(quick=True) as client:
        models = client.models().models
    if json_output:
        print_json({"models": [as_dict(model) for model in models]})
    elif models:
        _print_models(models)
    else:
        print_line("no models; register one with `hypuractl add PATH`")


def add(
    path: Annotated[Path, typer.Argument(help="A GGUF file, any part of a split one, or a folder.")],
    name: Annotated[str, typer.Option("--name", help="Its name; by default made from the file's name.")] = "",
    json_output: Json = False,
) -> None:
    """Register a GGUF file, or a folder of them.

    Files of a folder that are not models that can be run are listed on stderr with the reason. The exit code is 1 if
    one of them is damaged or cannot be read; the models are registered all the same.

    \b
    Examples:
      hypuractl add ~/models/qwen3-30b-a3b-q4_k_m.gguf --name qwen3
      hypuractl add ~/models
      hypuractl add ~/models --json | jq .passed_over
    """
    with connected(quick=True) as client:
        answer = client.add(path.expanduser().absolute(), name)
    if json_output:
        print_json(
            {
                "models": [as_dict(model) for model in answer.models],
                "passed_over": [as_dict(file) for file in answer.passed_over],
            }
        )
    elif answer.models:
        _print_models(answer.models)
    else:
        print_line(f"no models in {path}")
    for file in answer.passed_over:
        note(f"passed over: {passed_over_text(file)}")
    if any(not file.is_part for file in answer.passed_over) or not answer.models:
        raise typer.Exit(EXIT_PASSED_OVER)


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered name.")],
    json_output: Json = False,
) -> None:
    """Remove a model from the list. Files that were pulled for it are deleted; your own files are kept.

    \b
    Examples:
      hypuractl rm qwen3
      hypuractl rm hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M
    """
    with connected(quick=True) as client:
        client.remove(name)
    if json_output:
        print_json({"removed": name})
    else:
        print_line(f"removed {name}; files that hypura did not download itself are kept")


def copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A registered name.")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The name to add.")],
    json_output: Json = False,
) -> None:
    """Give a model a second name; its files are not copied.

    \b
    Examples:
      hypuractl cp qwen3 my-qwen
    """
    with connected(quick=True) as client:
        model = client.copy(source, destination).model
    if json_output:
        print_json(as_dict(model))
    else:
        print_line(f"{model.name} is now another name of {source}")


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new model.")],
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="PATH", help="The Modelfile; - reads stdin.")
    ] = "Modelfile",
    json_output: Json = False,
) -> None:
    """Create a model from another, with a Modelfile: FROM, PARAMETER, TEMPLATE, SYSTEM, MESSAGE, LICENSE.

    FROM names a model, or a GGUF file, which stays where it is. The text may be in UTF-8, or UTF-16 with its byte
    order mark.

    \b
    Examples:
      hypuractl create brief -f Modelfile
      printf 'FROM qwen3\\nSYSTEM "Be brief."\\n' | hypuractl create brief -f -
    """
    text, folder = _modelfile(file)
    with connected(quick=True) as client:
        model = client.create(name, with_absolute_paths(text, folder)).model
    if json_output:
        print_json(as_dict(model))
    else:
        print_line(f"created {model.name}; run it with: hypuractl run {model.name}")


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to download; see the examples.")],
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a registry without TLS.")] = False,
    json_output: Json = False,
) -> None:
    """Download a model. An interrupted download continues where it stopped.

    \b
    Examples:
      hypuractl pull qwen3:8b
      hypuractl pull hf.co/unsloth/Qwen3-8B-GGUF
      hypuractl pull hf.co/unsloth/Qwen3-8B-GGUF:Q8_0
      hypuractl pull registry.example.com/team/model:v2
    """
    with connected(quick=True) as client:
        model = pull_with_progress(client, name, insecure=insecure)
    if json_output:
        print_json(as_dict(model))
    else:
        print_line(f"pulled {model.name}: {size_text(model.size_bytes)}, {model.quantization or model.error}")


def show(
    model: Model,
    tensors: Tensors = False,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Print a Modelfile that creates it.")] = False,
    json_output: Json = False,
) -> None:
    """Describe a model.

    \b
    Examples:
      hypuractl show qwen3
      hypuractl show qwen3 --modelfile >Modelfile
      hypuractl show model.gguf --tensors --json
    """
    with connected(quick=True) as client:
        answer = client.show(registered_name(client, model))
    if modelfile and not json_output:
        print_line(answer.modelfile.rstrip("\n"))
        return
    if json_output:
        described = as_dict(answer, without=() if tensors else ("tensors",))
        described["metadata"] = _metadata(described.pop("metadata_json"))
        print_json(described)
        return
    summary = answer.model
    roles: Counter[str] = Counter()
    for tensor in answer.tensors:
        roles[role_text(tensor)] += tensor.extent.length_bytes
    print_facts(
        (
            ("name", summary.name),
            ("files", "\n".join(file.path for file in answer.files)),
            ("architecture", summary.architecture),
            ("parameters", f"{summary.parameters / 1e9:.2f} billion"),
            ("size", size_text(summary.size_bytes)),
            ("quantization", summary.quantization),
            ("experts", f"{summary.experts} per layer" if summary.experts else ""),
            ("context", f"{answer.context_tokens} tokens"),
            ("capabilities", ", ".join(answer.capabilities)),
            ("chat template", "yes" if answer.chat_template else "none"),
            ("adaptations", "\n".join(answer.adaptations)),
            ("system", answer.system),
            ("defaults", answer.parameters),
            ("license", next(iter(answer.license.strip().splitlines()), "")),
            ("tensors", "\n".join(f"{role}: {size_text(size)}" for role, size in roles.most_common())),
            ("error", summary.error),
        )
    )
    if tensors:
        print_tensors(answer.tensors)


def pull_with_progress(client: Client, name: str, *, insecure: bool) -> control.ModelSummary:
    """Downloads a model with bars on stderr, or with a line per stage and file where stderr is not a terminal."""
    last = None
    console = stderr_console()
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    bars: dict[str, TaskID] = {}
    with client.pull_events(name, insecure=insecure) as events, progress:
        for event in events:
            last = event
            kind = event.WhichOneof("event")
            if kind == "stage":
                progress.console.print(safe(event.stage), markup=False)
            elif kind == "transfer":
                file = event.transfer.file
                if file not in bars:
                    bars[file] = progress.add_task(safe(_short(file)))
                    if not console.is_terminal:
                        note(f"{_short(file)}, {size_text(event.transfer.total_bytes)}")
                progress.update(
                    bars[file],
                    total=event.transfer.total_bytes,
                    completed=event.transfer.completed_bytes,
                )
    return pulled_model(last)


def with_absolute_paths(text: str, folder: Path) -> str:
    """The Modelfile, with FROM's path made absolute where it names a file relative to `folder`."""

    def replaced(match: re.Match[str]) -> str:
        given = match[3].strip()
        path = Path(os.path.normpath(folder / Path(given).expanduser()))
        looks_like_path = given.startswith((".", "/", "~")) or given.lower().endswith(".gguf")
        if not looks_like_path and not path.is_file():
            return match[0]
        return f"{match[1]}{match[2]}{path}{match[4]}"

    return _FROM.sub(replaced, text, count=1)


def role_text(tensor: placement.TensorPlacement) -> str:
    return enum_text(placement.TensorRole.DESCRIPTOR, tensor.role) or "unknown"


def print_tensors(tensors: Iterable[placement.TensorPlacement]) -> None:
    """Every tensor and where it goes."""
    print_table(
        ("TENSOR", "ROLE", "TYPE", "SHAPE", ">SIZE", "TIER"),
        (
            (
                tensor.name,
                role_text(tensor),
                tensor.type,
                "×".join(str(length) for length in tensor.shape),
                size_text(tensor.extent.length_bytes),
                enum_text(placement.Tier.DESCRIPTOR, tensor.tier) or "",
            )
            for tensor in tensors
        ),
    )


def _metadata(text: str) -> object:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise UnexpectedReply(f"the daemon's metadata is not valid JSON: {error}") from error


def _print_models(models: Iterable[control.ModelSummary]) -> None:
    print_table(
        ("NAME", "ARCHITECTURE", ">PARAMETERS", "TYPE", ">SIZE", "PATH"),
        (
            (
                model.name,
                model.architecture,
                f"{model.parameters / 1e9:.1f} B",
                model.quantization,
                size_text(model.size_bytes),
                f"{model.path} ({model.error})" if model.error else model.path,
            )
            for model in models
        ),
    )


def _modelfile(file: str) -> tuple[str, Path]:
    """The Modelfile's text, and the folder that its paths are relative to."""
    path = Path(file).expanduser()
    name = "standard input" if file == "-" else str(path)
    try:
        if file == "-":
            content, folder = sys.stdin.buffer.read(MAX_MODELFILE_BYTES + 1), Path.cwd()
        else:
            with path.open("rb") as stream:
                content, folder = stream.read(MAX_MODELFILE_BYTES + 1), path.absolute().parent
        if len(content) > MAX_MODELFILE_BYTES:
            raise InvalidRequest(f"{name} is larger than {MAX_MODELFILE_BYTES} bytes, too large for a Modelfile")
        return decoded(content, name, None), folder
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}; name a Modelfile with -f") from error
    except ValueError as error:
        raise InvalidRequest(f"{error}; name a Modelfile with -f") from error


def _short(file: str) -> str:
    """How a file is shown: by the start of its digest, or by its name."""
    digest = file.removeprefix("sha256:")
    return f"pulling {digest[:_SHOWN_DIGEST_CHARACTERS] if digest != file else file}"
