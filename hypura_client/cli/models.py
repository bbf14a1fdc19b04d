"""hypuractl models, add, rm, cp, show: what the daemon knows."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from hypura.v1 import control_pb2 as control
from hypura.v1 import placement_pb2 as placement
from hypura_client.cli.options import Json, Model, Tensors
from hypura_client.cli.output import (
    as_dict,
    enum_text,
    note,
    print_facts,
    print_json,
    print_line,
    print_table,
)
from hypura_client.cli.session import connected, passed_over_text, registered
from hypura_client.cli.sizes import size_text
from hypura_client.errors import UnexpectedReply

EXIT_PASSED_OVER = 1
"""A folder's models are registered, and not all of its files are models."""


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
    name: Annotated[str, typer.Option("--name", help="Its name; made from the file's if left out.")] = "",
    json_output: Json = False,
) -> None:
    """Register a GGUF file, or a folder of them.

    What a folder holds beside models that can be run is named on stderr with why, and the exit code is 1 where a file
    is damaged or cannot be read; the models are registered all the same.

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
    """Forget a model. Files that were pulled for it are deleted, your own are left alone.

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
        print_line(f"{name} is removed; files that hypura did not fetch itself are left alone")


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
        print_line(f"{model.name} is {source}")


def show(
    model: Model,
    tensors: Tensors = False,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Print a Modelfile that makes it.")] = False,
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
        answer = client.show(registered(client, model))
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
        raise UnexpectedReply(f"the daemon's metadata is no JSON: {error}") from error


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
