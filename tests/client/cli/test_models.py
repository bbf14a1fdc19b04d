"""hypuractl cp, create, pull and show --modelfile, and the clients' calls behind them."""

from pathlib import Path

import pytest

from hypura_client.cli.models import with_absolute_paths
from hypura_client.client import AsyncClient
from hypura_client.errors import ModelNotFound, UnexpectedReply
from hypura_client.sync import Client
from tests.client.conftest import Hypuractl


async def test_calls(daemon_socket: Path) -> None:
    async with AsyncClient(daemon_socket) as client:
        assert (await client.copy("a", "b")).model.name == "b"
        assert (await client.create("c", "FROM a")).model.path == "FROM a"
        assert (await client.pull("d")).quantization == "Q4_K_M"
        with pytest.raises(ModelNotFound):
            await client.pull("missing")
    with Client(daemon_socket) as blocking:
        assert blocking.copy("a", "b").model.name == "b"
        assert blocking.pull("d", insecure=True).size_bytes == 1000
        with pytest.raises(UnexpectedReply):
            blocking.pull("unready")


def test_pull(hypuractl: Hypuractl) -> None:
    outcome = hypuractl("pull", "qwen3")
    assert (outcome.code, outcome.stdout) == (0, "pulled qwen3: 1.0 kB, Q4_K_M\n")
    assert outcome.stderr.count("pulling abababababab") == 1  # A pipe gets a line per file, no bar.
    assert hypuractl("pull", "qwen3", "--json").json["quantization"] == "Q4_K_M"
    failed = hypuractl("pull", "missing", "--json")
    assert (failed.code, failed.json["error"]["type"]) == (1, "ModelNotFound")


def test_copy_and_modelfile(hypuractl: Hypuractl) -> None:
    assert hypuractl("cp", "a", "b").stdout == "b is now another name of a\n"
    assert hypuractl("cp", "a", "b", "--json").json["name"] == "b"
    assert hypuractl("show", "a", "--modelfile").stdout == "FROM /m.gguf\n"


def test_create(hypuractl: Hypuractl) -> None:
    folder = hypuractl.folder
    (folder / "Modelfile").write_text('FROM ./m.gguf\nSYSTEM "hi"\n')
    made = hypuractl("create", "x", "--json").json
    assert (made["name"], made["path"]) == ("x", f'FROM {folder}/m.gguf\nSYSTEM "hi"\n')
    assert "hypuractl run x" in hypuractl("create", "x", "-f", "-", stdin="FROM a\n").stdout
    missing = hypuractl("create", "x", "-f", "none")
    assert (missing.code, "cannot be read" in missing.stderr) == (1, True)
    (folder / "binary").write_bytes(b"\xff\xfe\xff")
    assert "not text" in hypuractl("create", "x", "-f", "binary").stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_modelfile_in_other_encodings(hypuractl: Hypuractl, encoding: str) -> None:
    text = 'FROM ./m.gguf\r\nSYSTEM "größer 🦙"\r\n'
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (hypuractl.folder / "Modelfile").write_bytes(mark + text.encode(encoding))
    made = hypuractl("create", "x", "--json").json
    assert made["path"] == text.replace("./m.gguf", f"{hypuractl.folder}/m.gguf")


def test_a_modelfile_in_no_known_encoding_is_refused(hypuractl: Hypuractl) -> None:
    for data in ('FROM a\nSYSTEM "größer"'.encode("latin-1"), "FROM a".encode("utf-16-le")):
        (hypuractl.folder / "Modelfile").write_bytes(data)
        outcome = hypuractl("create", "x")
        assert (outcome.code, "not text" in outcome.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("FROM qwen3:8b", "FROM qwen3:8b"),
        ("from ../m.gguf\n", "from {parent}/m.gguf\n"),
        ('FROM "./my m.gguf"', 'FROM "{folder}/my m.gguf"'),
        ("# c\n FROM m.gguf\r\nSYSTEM x", "# c\n FROM {folder}/m.gguf\r\nSYSTEM x"),
        ("FROM blob", "FROM {folder}/blob"),
        ("FROM /abs/m.gguf", "FROM /abs/m.gguf"),
        ("FROM hf.co/o/r:Q4_0", "FROM hf.co/o/r:Q4_0"),
    ],
)
def test_paths_are_made_absolute_from_the_modelfiles_folder(tmp_path: Path, text: str, sent: str) -> None:
    (tmp_path / "blob").write_bytes(b"")
    assert with_absolute_paths(text, tmp_path) == sent.format(folder=tmp_path, parent=tmp_path.parent)


@pytest.mark.parametrize("command", ["pull", "cp", "create", "rm"])
def test_help_has_examples(hypuractl: Hypuractl, command: str) -> None:
    assert f"hypuractl {command} " in hypuractl(command, "--help").stdout
