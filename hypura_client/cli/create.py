"""hypuractl create: a model out of another and a Modelfile."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from hypura_client.cli.options import Json
from hypura_client.cli.output import as_dict, print_json, print_line
from hypura_client.cli.prompt import decoded
from hypura_client.cli.session import connected
from hypura_client.errors import InvalidRequest

MAX_MODELFILE_BYTES = 16 << 20
_FROM = re.compile(r"(?im)^([ \t]*FROM[ \t]+)(\"?)([^\n\"]+?)(\"?[ \t]*\r?)$")


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new model.")],
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="PATH", help="The Modelfile; - reads it from stdin.")
    ] = "Modelfile",
    json_output: Json = False,
) -> None:
    """Make a model out of another, with a Modelfile: FROM, PARAMETER, TEMPLATE, SYSTEM, MESSAGE, LICENSE.

    FROM names a model, or a GGUF file, which stays where it is. The text may be in UTF-8, or UTF-16 with its byte
    order mark.

    \b
    Examples:
      hypuractl create brief -f Modelfile
      printf 'FROM qwen3\\nSYSTEM "Be brief."\\n' | hypuractl create brief -f -
    """
    text, folder = _modelfile(file)
    with connected(quick=True) as client:
        model = client.create(name, with_whole_paths(text, folder)).model
    if json_output:
        print_json(as_dict(model))
    else:
        print_line(f"{model.name} is made; talk to it with: hypuractl run {model.name}")


def with_whole_paths(text: str, folder: Path) -> str:
    """The Modelfile with what FROM names as an absolute path, where that is a file seen from `folder`."""

    def replaced(match: re.Match[str]) -> str:
        given = match[3].strip()
        path = Path(os.path.normpath(folder / Path(given).expanduser()))
        looks_like_path = given.startswith((".", "/", "~")) or given.lower().endswith(".gguf")
        if not looks_like_path and not path.is_file():
            return match[0]
        return f"{match[1]}{match[2]}{path}{match[4]}"

    return _FROM.sub(replaced, text, count=1)


def _modelfile(file: str) -> tuple[str, Path]:
    """The Modelfile's text, and the folder that its paths start from."""
    path = Path(file).expanduser()
    name = "standard input" if file == "-" else str(path)
    try:
        if file == "-":
            content, folder = sys.stdin.buffer.read(MAX_MODELFILE_BYTES + 1), Path.cwd()
        else:
            with path.open("rb") as stream:
                content, folder = stream.read(MAX_MODELFILE_BYTES + 1), path.absolute().parent
        if len(content) > MAX_MODELFILE_BYTES:
            raise InvalidRequest(f"{name} has more than {MAX_MODELFILE_BYTES} bytes; it is no Modelfile")
        return decoded(content, name, None), folder
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}; name a Modelfile with -f") from error
    except ValueError as error:
        raise InvalidRequest(f"{error}; name a Modelfile with -f") from error
