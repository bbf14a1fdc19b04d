"""Pulls from a registry: complete or not at all, resumed, shared, and with errors that say what to do."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hypura_daemon.errors import DownloadFailed, InvalidModelName, InvalidRequest, ModelNotFound
from hypura_daemon.models.catalogue import Source
from hypura_daemon.models.pulling import download
from hypura_daemon.models.pulling.download import Patience
from hypura_daemon.models.pulling.progress import PullEvent, Stage, Transfer
from hypura_daemon.models.pulling.puller import Puller
from hypura_daemon.models.registry import Registry
from tests.daemon.models.files import gguf_bytes
from tests.daemon.models.web_server import Web, host_of, served, sha256, tree

QUICK = Patience(tries=3, first_seconds=0.01, most_seconds=0.02, stall_seconds=20)
WEIGHTS = gguf_bytes()
MODEL = [
    ("config", b'{"model_format": "gguf"}'),
    ("model", WEIGHTS),
    ("template", b"{{ .System }} {{ .Prompt }}"),
    ("params", b'{"stop": ["<end>", "<stop>"], "temperature": 0.5}'),
    ("system", b"Be kind."),
    ("license", b"MIT"),
]
BLOB = f"/v2/library/m/blobs/sha256:{sha256(WEIGHTS)}"


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as web:
        web.add_model("library/m", MODEL)
        yield web


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


class Desk:
    def __init__(self, home: Path, web: Web) -> None:
        self.registry = Registry(home)
        self.puller = Puller(self.registry, home, QUICK)
        self.name = f"{host_of(web)}/library/m"

    async def pull(self, name: str = "") -> list[PullEvent]:
        async with asyncio.timeout(60):
            return [event async for event in self.puller.pull(name or self.name, insecure=True)]


async def test_a_model_is_pulled_with_its_overrides(home: Path, web: Web) -> None:
    desk = Desk(home, web)
    events = await desk.pull()
    stages = [event.text for event in events if isinstance(event, Stage)]
    assert stages == ["pulling manifest", "verifying sha256 digest", "writing manifest", "success"]
    transfers = {event.file: event for event in events if isinstance(event, Transfer)}
    assert transfers[f"sha256:{sha256(WEIGHTS)}"] == Transfer(f"sha256:{sha256(WEIGHTS)}", len(WEIGHTS), len(WEIGHTS))
    entry = desk.registry.get(desk.name)
    assert (entry.name, entry.source) == (f"{desk.name}:latest", Source.PULLED)
    assert entry.overrides.parameters == (("stop", "<end>"), ("stop", "<stop>"), ("temperature", "0.5"))
    assert (entry.overrides.template_style, entry.overrides.system, entry.overrides.license) == (
        "go",
        "Be kind.",
        "MIT",
    )
    assert desk.registry.open(desk.name).architecture == "llama"
    assert entry.path.read_bytes() == WEIGHTS
    assert not [name for name in tree(home) if "partial" in name]
    before = web.asked[BLOB]
    await desk.pull()
    assert web.asked[BLOB] == before == 1  # What is here is not fetched again.


async def test_removing_deletes_only_what_no_other_model_needs(home: Path, web: Web) -> None:
    desk = Desk(home, web)
    web.add_model("library/twin", [("config", b"{}"), ("model", WEIGHTS), ("system", b"Be rude.")])
    await desk.pull()
    twin = f"{host_of(web)}/library/twin"
    await desk.pull(twin)
    desk.registry.put("copy", desk.registry.get(twin).path)
    desk.registry.remove(desk.name)
    assert desk.registry.open(twin).architecture == "llama"
    desk.registry.remove(twin)
    assert [model.name for model in desk.registry.list()] == ["copy:latest"]
    assert desk.registry.open("copy").architecture == "llama"
    desk.registry.remove("copy")
    assert tree(home) == ["models.json", "summaries.json"]


async def test_a_home_behind_a_link_loses_no_file_that_is_needed(tmp_path: Path, web: Web) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    desk = Desk(tmp_path / "link", web)
    await desk.pull()
    desk.registry.put("copy", desk.registry.get(desk.name).path)
    desk.registry.remove(desk.name)
    assert desk.registry.open("copy").architecture == "llama"
    desk.registry.remove("copy")
    assert tree(tmp_path / "real") == ["models.json"]


async def test_a_cut_connection_is_resumed_by_range(home: Path, web: Web) -> None:
    web.cut_after_bytes, web.cuts = 1000, 1
    await Desk(home, web).pull()
    assert "bytes=1000-" in web.ranges
    assert (home / f"blobs/sha256-{sha256(WEIGHTS)}").read_bytes() == WEIGHTS


async def test_a_server_without_ranges_sends_everything_again(home: Path, web: Web) -> None:
    web.cut_after_bytes, web.cuts, web.knows_ranges = 1000, 1, False
    await Desk(home, web).pull()
    assert (home / f"blobs/sha256-{sha256(WEIGHTS)}").read_bytes() == WEIGHTS


async def test_a_partial_of_an_earlier_try_is_resumed_and_a_wrong_one_replaced(home: Path, web: Web) -> None:
    partial = home / f"blobs/sha256-{sha256(WEIGHTS)}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(WEIGHTS[:700])
    await Desk(home, web).pull()
    assert web.ranges == ["bytes=700-"]
    Registry(home).remove(f"{host_of(web)}/library/m")
    partial.parent.mkdir(exist_ok=True)
    partial.write_bytes(b"x" * 700)
    await Desk(home, web).pull()
    assert (home / f"blobs/sha256-{sha256(WEIGHTS)}").read_bytes() == WEIGHTS


async def test_a_corrupt_blob_fails_and_lists_nothing(home: Path, web: Web) -> None:
    web.files[BLOB] = WEIGHTS[:-1] + b"\1"
    desk = Desk(home, web)
    with pytest.raises(DownloadFailed, match=r"has the digest .* is deleted"):
        await desk.pull()
    assert desk.registry.list() == []
    assert not [name for name in tree(home) if sha256(WEIGHTS) in name]


async def test_busy_servers_are_tried_again_and_dead_ones_fail(home: Path, web: Web) -> None:
    web.failures = 2
    await Desk(home, web).pull()
    web.add_model("library/n", [("config", b"{}"), ("model", WEIGHTS + b"\0")])
    web.failures = 10
    desk = Desk(home, web)
    with pytest.raises(DownloadFailed, match="the server answered 503; pull again to continue"):
        await desk.pull(f"{host_of(web)}/library/n")
    assert [model.name for model in desk.registry.list()] == [f"{desk.name}:latest"]


async def test_a_registry_that_requires_a_token(home: Path, web: Web) -> None:
    web.wants_token = True
    await Desk(home, web).pull()
    assert web.asked["/token"] == 1  # The token is kept for the blobs.


async def test_two_pulls_share_one_download_and_one_may_be_cancelled(home: Path, web: Web) -> None:
    web.held = BLOB
    desk = Desk(home, web)
    first = desk.puller.pull(desk.name, insecure=True)
    assert await anext(first) == Stage("pulling manifest")
    second = asyncio.ensure_future(desk.pull())
    await asyncio.to_thread(web.reached.wait, 30)
    await first.aclose()
    web.hold.set()
    events = await second
    assert events[-1] == Stage("success")
    assert web.asked[BLOB] == 1


async def test_cancelling_keeps_what_is_there(home: Path, web: Web) -> None:
    web.held = BLOB
    desk = Desk(home, web)
    partial = home / f"blobs/sha256-{sha256(WEIGHTS)}.partial"
    async with asyncio.timeout(30), aclosing(desk.puller.pull(desk.name, insecure=True)) as events:
        async for event in events:
            if isinstance(event, Transfer) and 0 < event.completed_bytes < len(WEIGHTS):
                break
    assert 0 < partial.stat().st_size < len(WEIGHTS)
    assert desk.registry.list() == []
    web.held = ""
    web.hold.set()
    await desk.pull()
    assert web.ranges and desk.registry.open(desk.name).architecture == "llama"


async def test_an_unreachable_registry(home: Path, web: Web) -> None:
    desk = Desk(home, web)
    with served() as gone:
        dead = host_of(gone)
    with pytest.raises(DownloadFailed, match=f"{dead} cannot be reached: .*check the network") as caught:
        await desk.pull(f"{dead}/library/m")
    assert "hypuractl add" in str(caught.value)
    with pytest.raises(DownloadFailed, match="cannot be reached"):  # TLS is wanted, and not spoken.
        async for _ in desk.puller.pull(desk.name):
            pass
    assert tree(home) == []


async def test_what_cannot_be_pulled(home: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(home, web)
    with pytest.raises(ModelNotFound, match="has no model"):
        await desk.pull(f"{host_of(web)}/library/other")
    with pytest.raises(InvalidModelName):
        await desk.pull("../etc")
    with pytest.raises(InvalidRequest, match="without TLS"):
        async for _ in desk.puller.pull(f"http://{desk.name}"):
            pass
    web.add_model("library/lora", [("config", b"{}"), ("model", WEIGHTS), ("adapter", b"x")])
    with pytest.raises(DownloadFailed, match="LoRA"):
        await desk.pull(f"{host_of(web)}/library/lora")
    web.files["/v2/library/odd/manifests/latest"] = json.dumps(
        {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x", "size": 1}]}
    ).encode()
    with pytest.raises(DownloadFailed, match="digest"):
        await desk.pull(f"{host_of(web)}/library/odd")
    monkeypatch.setattr(download, "SPARE_BYTES", 1 << 60)
    with pytest.raises(DownloadFailed, match=r"\d kB are needed, with .* to spare, but .* are free in"):
        await desk.pull()
    assert tree(home) == []


async def test_a_new_version_replaces_the_old_and_its_blobs(home: Path, web: Web) -> None:
    desk = Desk(home, web)
    await desk.pull()
    newer = WEIGHTS + b"\0" * 32
    web.add_model("library/m", [("config", b"{}"), ("model", newer)])
    desk.registry.put(desk.name, desk.registry.get(desk.name).path)  # Made over it meanwhile: a pull is meant.
    await desk.pull()
    assert desk.registry.get(desk.name).path.read_bytes() == newer
    assert not (home / f"blobs/sha256-{sha256(WEIGHTS)}").exists()
