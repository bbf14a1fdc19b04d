"""Hugging Face: the right files of a repository, complete or not at all, from a hub on loopback."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from hypura_daemon.errors import DownloadFailed, InvalidRequest, ModelFileError, ModelNotFound
from hypura_daemon.models.gguf.splits import MAX_PARTS
from hypura_daemon.models.names import parse_name
from hypura_daemon.models.pulling.hub import HubFile, chosen
from hypura_daemon.models.pulling.progress import PullEvent, Stage
from hypura_daemon.models.pulling.puller import Puller
from hypura_daemon.models.registry import Registry
from tests.daemon.models.files import gguf_bytes, write_split
from tests.daemon.models.test_pulling import QUICK
from tests.daemon.models.web_server import Web, served, tree

WEIGHTS = gguf_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with served() as web:
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        yield web


async def pulled(home: Path, name: str) -> list[PullEvent]:
    return [event async for event in Puller(Registry(home), home, QUICK).pull(name)]


async def test_a_repository_is_pulled_by_its_usual_quantization(tmp_path: Path, hub: Web) -> None:
    files = {"README.md": b"hi", "mmproj-m-F16.gguf": b"x", "m-Q8_0.gguf": b"x", "m-Q4_K_M.gguf": WEIGHTS}
    hub.add_repository("owner/m-GGUF", files)
    events = await pulled(tmp_path, "hf.co/owner/m-GGUF")
    assert events[0] == Stage("pulling manifest") and events[-1] == Stage("success")
    registry = Registry(tmp_path)
    assert registry.open("hf.co/owner/m-GGUF").architecture == "llama"
    entry = registry.get("huggingface.co/Owner/m-GGUF:latest")
    assert entry.path == tmp_path / "huggingface/owner/m-GGUF/m-Q4_K_M.gguf"
    registry.remove(entry.name)
    assert tree(tmp_path) == ["models.json"]
    assert not (tmp_path / "huggingface/owner").exists()


async def test_a_split_model_comes_with_all_its_parts(tmp_path: Path, hub: Web) -> None:
    parts = write_split(tmp_path / "made", "m-Q4_K_M")
    files = {f"Q4_K_M/{part.name}": part.read_bytes() for part in parts}
    hub.add_repository("owner/m", files)
    hub.cut_after_bytes, hub.cuts = 300, 2
    home = tmp_path / "home"
    await pulled(home, "hf.co/owner/m:q4_k_m")
    assert len(Registry(home).open("hf.co/owner/m:Q4_K_M").files) == 3
    assert hub.ranges == ["bytes=300-", "bytes=600-"]
    Registry(home).remove("hf.co/owner/m:q4_k_m")
    assert tree(home) == ["models.json"]


async def test_failures_leave_nothing_listed(tmp_path: Path, hub: Web) -> None:
    hub.add_repository("owner/bad", {"m-Q4_0.gguf": b"no model at all, only text that was put there"})
    with pytest.raises(ModelFileError):
        await pulled(tmp_path, "hf.co/owner/bad")
    hub.add_repository("owner/corrupt", {"m-Q4_0.gguf": WEIGHTS})
    hub.files["/owner/corrupt/resolve/c0ffee/m-Q4_0.gguf"] = WEIGHTS[:-1] + b"\1"
    with pytest.raises(DownloadFailed, match="digest"):
        await pulled(tmp_path, "hf.co/owner/corrupt")
    hub.add_repository("owner/texts", {"README.md": b""})
    with pytest.raises(ModelNotFound, match="no GGUF file"):
        await pulled(tmp_path, "hf.co/owner/texts")
    with pytest.raises(ModelNotFound, match="no repository owner/none"):
        await pulled(tmp_path, "hf.co/owner/none")
    assert Registry(tmp_path).list() == []
    assert tree(tmp_path) == []


async def test_offline_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.address)
    with pytest.raises(DownloadFailed, match=r"cannot be reached: .*check the network"):
        await pulled(tmp_path, "hf.co/owner/m")
    assert tree(tmp_path) == []


def file(path: str) -> HubFile:
    return HubFile(PurePosixPath(path), 1, "", "")


@pytest.mark.parametrize(
    ("files", "tag", "wanted"),
    [
        ("m-F16.gguf m-Q2_K.gguf m-Q5_K_M.gguf", "latest", "m-Q5_K_M.gguf"),
        ("m-Q8_0.gguf m-Q4_0.gguf", "latest", "m-Q4_0.gguf"),
        ("only.gguf", "latest", "only.gguf"),
        ("m-UD-Q4_K_XL.gguf m-Q8_0.gguf", "ud-q4_k_xl", "m-UD-Q4_K_XL.gguf"),
        ("a.gguf b.gguf", "B.gguf", "b.gguf"),
        ("Q8_0/m-00001-of-00001.gguf Q4_0/m-00001-of-00001.gguf", "Q8_0", "Q8_0/m-00001-of-00001.gguf"),
    ],
)
def test_which_file_a_tag_means(files: str, tag: str, wanted: str) -> None:
    name = parse_name(f"hf.co/o/r:{tag}")
    assert [str(one.path) for one in chosen([file(path) for path in files.split()], name)] == [wanted]


def test_unusable_choices() -> None:
    name = parse_name("hf.co/o/r:Q4_0")
    with pytest.raises(ModelNotFound, match=r"has no Q4_0; it has Q2_K, Q8_0"):
        chosen([file("m-Q8_0.gguf"), file("m-Q2_K.gguf")], name)
    with pytest.raises(ModelNotFound, match=r"lacks part 2 of the 3 parts of m-Q4_0-00001-of-00003\.gguf"):
        chosen([file(f"m-Q4_0-0000{number}-of-00003.gguf") for number in (1, 3)], name)
    with pytest.raises(ModelNotFound, match=rf"has {MAX_PARTS + 1} parts, more than {MAX_PARTS}; name another"):
        chosen([file(f"m-Q4_0-{number:05}-of-{MAX_PARTS + 1:05}.gguf") for number in range(1, MAX_PARTS + 2)], name)
    for path in ("../m-Q4_0.gguf", "/etc/m-Q4_0.gguf", "a/../../m-Q4_0.gguf"):
        with pytest.raises(InvalidRequest, match="leads out"):
            chosen([file(path)], name)
