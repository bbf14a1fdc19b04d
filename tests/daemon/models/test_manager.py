"""Models created, copied and removed: their names, what they inherit, and what is unloaded and deleted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypura_daemon.chat.prompts.template import check_template
from hypura_daemon.errors import DownloadFailed, InvalidRequest, ModelFileError, ModelNotFound
from hypura_daemon.models.manager import ModelManager, creation_from_files, creation_of
from hypura_daemon.models.modelfile import parse_modelfile
from hypura_daemon.models.overrides import NO_OVERRIDES
from hypura_daemon.models.pulling import download
from hypura_daemon.models.pulling.progress import Stage
from hypura_daemon.models.registry import Registry
from tests.daemon.models.files import gguf_bytes, write_model
from tests.daemon.models.test_pulling import MODEL, QUICK
from tests.daemon.models.web_server import Web, served, sha256, tree

WEIGHTS = gguf_bytes()


class Desk:
    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.file = write_model(folder / "m.gguf")
        self.registry = Registry(self.home)
        self.unloaded: list[str] = []
        self.manager = ModelManager(self.registry, self.home, self.unload, check_template, QUICK)

    async def unload(self, name: str) -> bool:
        self.unloaded.append(name)
        return True

    async def create(self, name: str, text: str) -> list[object]:
        return [event async for event in self.manager.create(creation_of(name, parse_modelfile(text)))]

    async def upload(self, digest: str, *chunks: bytes) -> bool:
        async def sent() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return await self.manager.blobs.put(digest, sent(), sum(map(len, chunks)))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_model_is_created_from_a_file_and_from_another_model(desk: Desk) -> None:
    events = await desk.create("a", f'FROM {desk.file}\nSYSTEM "Be kind."\nPARAMETER seed 1')
    assert events[-2:] == [Stage("writing manifest"), Stage("success")]
    await desk.create("b", "FROM a\nPARAMETER temperature 0\nTEMPLATE {{ if .Tools }}{{ .Prompt }}{{ end }}")
    again = Registry(desk.home)  # It lasts.
    assert again.get("b").overrides.system == "Be kind."
    assert again.get("b").overrides.parameters == (("seed", "1"), ("temperature", "0.0"))
    assert again.open("b").capabilities == ("completion", "tools")
    digests = {model.digest for model in again.list()}
    assert len(digests) == 2 and all(len(digest) == 64 for digest in digests)
    await desk.create("b", "FROM b\nSYSTEM new")
    assert desk.unloaded == []  # Its file is the same.
    other = write_model(desk.file.with_name("other.gguf"), gguf_bytes() + b"\0")
    await desk.create("b", f"FROM {other}")
    assert desk.unloaded == ["b:latest"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM ./m.gguf", "relative path"),
        ("FROM m.gguf", "relative path"),
        ("FROM ~/m.gguf", "relative path"),
        ("FROM a\nTEMPLATE {{ if .X }}", "no {{ end }}"),
        ('FROM a\nTEMPLATE """a\n{% for m in messages %}{{ m.content }"""', "syntax error in line 2"),
        ("FROM a\nTEMPLATE {% if %}", "syntax error in line 1"),
    ],
)
async def test_what_cannot_be_made(desk: Desk, text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        await desk.create("x", text)
    with pytest.raises(ModelFileError):
        await desk.create("x", f"FROM {desk.file.parent}/none.gguf")
    assert desk.registry.list() == []


async def test_a_copy_is_a_second_name(desk: Desk) -> None:
    await desk.create("a", f"FROM {desk.file}\nSYSTEM hi")
    assert (await desk.manager.copy("a", "b:1")).name == "b:1"
    await desk.manager.remove("a")
    assert desk.registry.get("b:1").overrides.system == "hi"
    assert desk.unloaded == ["a:latest"]
    assert desk.file.exists()
    with pytest.raises(ModelNotFound):
        await desk.manager.copy("a", "c")
    with pytest.raises(InvalidRequest):
        await desk.manager.copy("b:1", "../c")


async def test_an_upload_becomes_a_model_and_is_deleted_with_it(desk: Desk) -> None:
    digest = f"sha256:{sha256(WEIGHTS)}"
    assert await desk.upload(digest, WEIGHTS[:1000], WEIGHTS[1000:])
    assert not await desk.upload(digest, WEIGHTS)
    creation = creation_from_files("up", {"m.gguf": digest}, NO_OVERRIDES)
    stages = [event async for event in desk.manager.create(creation)]
    assert stages == [Stage("parsing GGUF"), Stage("writing manifest"), Stage("success")]
    await desk.manager.copy("up", "up2")
    await desk.manager.remove("up")
    assert desk.registry.open("up2").architecture == "llama"
    await desk.manager.remove("up2")
    assert tree(desk.home) == ["models.json"]


async def test_bad_uploads_leave_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = f"sha256:{sha256(WEIGHTS)}"
    with pytest.raises(InvalidRequest, match="digest mismatch"):
        await desk.upload(digest, WEIGHTS[:-1])
    for bad in ("sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 64, ""):
        with pytest.raises(InvalidRequest, match="invalid digest"):
            await desk.upload(bad, WEIGHTS)
    with pytest.raises(InvalidRequest, match="does not exist"):
        async for _ in desk.manager.create(creation_from_files("x", {"m.gguf": digest}, NO_OVERRIDES)):
            pass
    for files in ({}, {"a": digest, "b": digest}, {"model.safetensors": digest}, {"m-00001-of-00002.gguf": digest}):
        with pytest.raises(InvalidRequest):
            creation_from_files("x", files, NO_OVERRIDES)
    monkeypatch.setattr(download, "SPARE_BYTES", 1 << 60)
    with pytest.raises(DownloadFailed, match="are free"):
        await desk.upload(digest, WEIGHTS)
    assert tree(desk.home) == []


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as web:
        web.add_model("library/m", MODEL)
        yield web


async def test_an_unknown_base_is_pulled(desk: Desk, web: Web) -> None:
    with pytest.raises(DownloadFailed, match="cannot be reached"):  # Over TLS alone.
        await desk.create("x", f"FROM {web.address.removeprefix('http://')}/library/m")
    assert desk.registry.list() == []


async def test_concurrent_changes_lose_nothing(desk: Desk) -> None:
    await asyncio.gather(*(desk.create(f"m{number}", f"FROM {desk.file}") for number in range(12)))
    assert len(Registry(desk.home).list()) == 12
