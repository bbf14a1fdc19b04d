"""Stores of other programs: listed under their usual names and read in place, whatever they contain."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.models.catalogue import Source
from hypura_daemon.models.registry import Registry
from hypura_daemon.models.stores.ollama import BadManifest, OllamaStore, parse_manifest
from hypura_daemon.models.stores.places import DemoStore, stores_at
from hypura_daemon.models.stores.repositories import HuggingFaceStore, LmStudioStore
from hypura_daemon.models.stores.scanning import WatchedStore
from tests.daemon.models.files import gguf_bytes, write_model, write_split
from tests.daemon.models.web_server import OLLAMA, sha256

WEIGHTS = gguf_bytes()
ADAPTER = gguf_bytes({"general.type": "adapter", "general.architecture": "llama"})


def add_blob(root: Path, content: bytes) -> str:
    digest = sha256(content)
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    (root / "blobs" / f"sha256-{digest}").write_bytes(content)
    return digest


def add_model(root: Path, name: str, *layers: tuple[str, bytes], config: bytes = b"{}") -> Path:
    """A model as `ollama pull` stores it; name is HOST/NAMESPACE/NAME/TAG."""
    listed = [
        {"mediaType": OLLAMA + kind, "digest": f"sha256:{add_blob(root, content)}", "size": len(content)}
        for kind, content in layers
    ]
    manifest = {"schemaVersion": 2, "config": {"digest": f"sha256:{add_blob(root, config)}"}, "layers": listed}
    path = root / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))
    return path


def names(store: Any) -> list[str]:
    return [entry.name for entry in store.scan().entries]


def test_ollamas_models_come_with_what_overrides_them(tmp_path: Path) -> None:
    add_model(
        tmp_path,
        "registry.ollama.ai/library/m/8b",
        ("model", WEIGHTS),
        ("projector", b"vision"),
        ("template", b"{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}"),
        ("params", b'{"stop": ["<end>"], "num_ctx": 8192}'),
        ("messages", b'[{"role": "user", "content": "hi"}]'),
        ("license", b"MIT"),
        ("license", b"and more"),
    )
    registry = Registry(tmp_path / "home", [OllamaStore(tmp_path)])
    entry = registry.get("m:8b")
    assert entry.path.read_bytes() == WEIGHTS
    assert (entry.source, entry.overrides.template_style) == (Source.OLLAMA, "go")
    assert entry.overrides.parameters == (("stop", "<end>"), ("num_ctx", "8192"))
    assert entry.overrides.messages == (("user", "hi"),)
    assert entry.overrides.license == "MIT\nand more"
    assert registry.open("m:8b").capabilities == ("completion",)


def test_ollamas_names(tmp_path: Path) -> None:
    for name in ("registry.ollama.ai/library/a/latest", "registry.ollama.ai/me/b/1", "hf.co/o/r-GGUF/Q4_K_M"):
        add_model(tmp_path, name, ("model", WEIGHTS))
    assert names(OllamaStore(tmp_path)) == ["hf.co/o/r-GGUF:Q4_K_M", "a:latest", "me/b:1"]


def test_a_template_that_ollama_does_not_use_overrides_nothing(tmp_path: Path) -> None:
    renderer = b'{"renderer": "qwen3-coder"}'
    add_model(tmp_path, "h/n/a/1", ("model", WEIGHTS), ("template", b"{{ .System }}"), config=renderer)
    add_model(tmp_path, "h/n/b/1", ("model", WEIGHTS), ("template", b"{{ .Prompt }}"))
    assert [entry.overrides.template for entry in OllamaStore(tmp_path).scan().entries] == ["", ""]


def test_broken_manifests_and_dangling_links_are_left_out(tmp_path: Path) -> None:
    add_model(tmp_path, "h/n/good/1", ("model", WEIGHTS))
    add_model(tmp_path, "h/n/adapter/1", ("model", WEIGHTS), ("adapter", b"x"))
    add_model(tmp_path, "h/n/no-weights/1", ("template", b"x"))
    add_model(tmp_path, "h/n/bad-params/1", ("model", WEIGHTS), ("params", b"["))
    add_model(tmp_path, "h/n/bad messages/1", ("model", WEIGHTS))
    add_model(tmp_path, "h/n/bad-messages/1", ("model", WEIGHTS), ("messages", b"[3]"))
    add_model(tmp_path, "h/n/gone/1", ("model", WEIGHTS + b"\0"))
    (tmp_path / "blobs" / f"sha256-{sha256(WEIGHTS + bytes(1))}").unlink()
    secret = tmp_path.parent / "secret.gguf"
    secret.write_bytes(WEIGHTS)
    add_model(tmp_path, "h/n/outside/1", ("model", WEIGHTS + b"\0\0"))
    blob = tmp_path / "blobs" / f"sha256-{sha256(WEIGHTS + bytes(2))}"
    blob.unlink()
    blob.symlink_to(secret)
    (tmp_path / "manifests/h/n/no-json").mkdir()
    (tmp_path / "manifests/h/n/no-json/1").write_bytes(b"\xff{")
    (tmp_path / "manifests/h/n/loop").symlink_to(tmp_path / "manifests")
    scan = OllamaStore(tmp_path).scan()
    assert [entry.name for entry in scan.entries] == ["h/n/good:1"]
    told = "\n".join(scan.left_out)
    for part in ("adapter", "no-weights", "bad-params", "bad messages", "bad-messages", "does not exist", "leads out"):
        assert part in told


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["layers", "config", "digest", "size", "mediaType"]), inner)
        ),
    )
)
def test_any_manifest_is_read_or_refused(data: object) -> None:
    try:
        parse_manifest(json.dumps(data).encode())
    except BadManifest:
        pass


def hub_file(root: Path, repository: str, commit: str, path: str, content: bytes) -> Path:
    """A file as huggingface_hub stores it: a link into the blobs."""
    folder = root / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / sha256(content)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link = folder / "snapshots" / commit / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(blob)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs/main").write_text(commit)
    return link


def test_the_hugging_face_cache(tmp_path: Path) -> None:
    hub_file(tmp_path, "o/r-GGUF", "aaa", "m-Q8_0.gguf", WEIGHTS)
    hub_file(tmp_path, "o/r-GGUF", "aaa", "m-Q4_K_M.gguf", WEIGHTS)
    current = hub_file(tmp_path, "o/r-GGUF", "bbb", "m-Q4_K_M.gguf", WEIGHTS + bytes(32))
    hub_file(tmp_path, "o/r-GGUF", "bbb", "mmproj-F16.gguf", b"x")
    hub_file(tmp_path, "o/texts", "ccc", "README.md", b"x")
    for part in write_split(tmp_path.parent / "made", "big-Q2_K", 2):
        hub_file(tmp_path, "o/big", "ddd", f"Q2_K/{part.name}", part.read_bytes())
    hub_file(tmp_path, "o/gone", "eee", "m.gguf", b"gone").resolve().unlink()
    store = HuggingFaceStore(tmp_path)
    entries = {entry.name: entry.path for entry in store.scan().entries}
    assert sorted(entries) == ["hf.co/o/big:Q2_K", "hf.co/o/r-GGUF:Q4_K_M", "hf.co/o/r-GGUF:Q8_0"]
    assert entries["hf.co/o/r-GGUF:Q4_K_M"] == current
    registry = Registry(tmp_path / "home", [store])
    assert len(registry.open("hf.co/o/big").files) == 2


def test_lm_studios_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "pub/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf")
    write_model(tmp_path / "pub/Qwen3-8B-GGUF/mmproj-model-f16.gguf")
    write_model(tmp_path / "pub/lora/adapter.gguf", ADAPTER)
    write_model(tmp_path / "pub/no name!/x.gguf")
    outside = write_model(tmp_path.parent / "outside.gguf")
    (tmp_path / "pub/Qwen3-8B-GGUF/linked-Q8_0.gguf").symlink_to(outside)
    registry = Registry(tmp_path / "home", [LmStudioStore(tmp_path)])
    assert [model.name for model in registry.list()] == ["pub/Qwen3-8B-GGUF:Q4_K_M"]


def test_own_models_win_and_those_of_other_programs_are_not_deleted(tmp_path: Path) -> None:
    add_model(tmp_path / "o", "registry.ollama.ai/library/m/latest", ("model", WEIGHTS))
    registry = Registry(tmp_path / "home", [OllamaStore(tmp_path / "o"), DemoStore(tmp_path / "demo")])
    with pytest.raises(InvalidRequest, match=r"belongs to Ollama .* ollama rm m:latest"):
        registry.remove("m")
    own = write_model(tmp_path / "own.gguf")
    registry.put("m", own)
    assert registry.get("m").path == own
    registry.remove("m")
    assert registry.get("m").source is Source.OLLAMA
    assert own.exists()


def test_the_demo_model_is_listed_unless_the_name_is_taken(tmp_path: Path) -> None:
    demo = write_model(tmp_path / "demo/hypura-demo-v1.gguf")
    registry = Registry(tmp_path / "home", [DemoStore(tmp_path / "demo")])
    assert registry.get("demo").path == demo
    with pytest.raises(InvalidRequest, match="comes with hypura"):
        registry.remove("demo")
    own = write_model(tmp_path / "own.gguf")
    registry.put("demo", own)
    assert registry.get("demo").path == own


def test_changes_are_seen_at_once_and_nothing_else_is_read_again(tmp_path: Path) -> None:
    class Counting(OllamaStore):
        scans = 0

        def scan(self) -> Any:
            Counting.scans += 1
            return super().scan()

    path = add_model(tmp_path, "h/n/a/1", ("model", WEIGHTS))
    store = Counting(tmp_path)
    watched = WatchedStore(store)
    assert [entry.name for entry in watched.entries()] == ["h/n/a:1"]
    add_model(tmp_path, "h/n/b/1", ("model", WEIGHTS))
    assert [entry.name for entry in watched.entries()] == ["h/n/a:1", "h/n/b:1"]
    add_model(tmp_path, "h/n/a/1", ("model", WEIGHTS), ("system", b"new"))
    assert [entry.overrides.system for entry in watched.entries()] == ["new", ""]
    path.unlink()
    assert [entry.name for entry in watched.entries()] == ["h/n/b:1"]
    settle(tmp_path)
    watched.entries()
    scans = Counting.scans
    watched.entries()
    assert Counting.scans == scans


def settle(folder: Path) -> None:
    """Give everything a time long ago."""
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (1_700_000_000, 1_700_000_000))


def test_a_missing_store_is_empty() -> None:
    assert not OllamaStore(Path("/nowhere")).scan().entries
    assert not HuggingFaceStore(Path("/nowhere")).scan().entries
    assert not LmStudioStore(Path("/nowhere")).scan().entries


def test_listing_a_thousand_models_takes_milliseconds(tmp_path: Path) -> None:
    for number in range(1000):
        add_model(tmp_path, f"registry.ollama.ai/library/m{number}/latest", ("model", WEIGHTS), ("system", b"s"))
    settle(tmp_path)
    registry = Registry(tmp_path / "home", [OllamaStore(tmp_path)])
    assert len(registry.list()) == 1000
    best_seconds = min(_timed(registry) for _ in range(5))
    assert best_seconds < 0.1


def _timed(registry: Registry) -> float:
    start = time.perf_counter()
    registry.list()
    return time.perf_counter() - start


def test_the_folders_of_the_stores(tmp_path: Path) -> None:
    given = {"OLLAMA_MODELS": "/a", "HF_HOME": "~/hf", "HYPURA_LM_STUDIO": "/c"}
    stores: list[Any] = list(stores_at(("ollama", "huggingface", "lm-studio"), given, tmp_path))
    assert [str(store._root) for store in stores[:-1]] == ["/a", f"{tmp_path}/hf/hub", "/c"]
    usual: list[Any] = list(stores_at(("ollama", "huggingface", "lm-studio"), {}, tmp_path))
    assert str(usual[0]._root) == f"{tmp_path}/.ollama/models"
    assert str(usual[2]._root) == f"{tmp_path}/.cache/huggingface/hub"
    assert [type(store) for store in stores_at((), given, tmp_path)] == [DemoStore]


def test_what_ollama_has_and_hypura_cannot_run_is_named(tmp_path: Path) -> None:
    add_model(tmp_path, "registry.ollama.ai/library/tuned/latest", ("model", WEIGHTS), ("adapter", b"x"))
    add_model(tmp_path, "registry.ollama.ai/library/cloud/120b", ("license", b"x"))
    registry = Registry(tmp_path / "home", [OllamaStore(tmp_path)])
    assert registry.list() == []
    named = {model.name: model.error for model in registry.unusable()}
    assert list(named) == ["cloud:120b", "tuned:latest"]
    assert "LoRA adapter" in named["tuned:latest"] and "merge it" in named["tuned:latest"]
    with pytest.raises(ModelNotFound, match=r"tuned:latest exists, but cannot be used: .*LoRA adapter.*merge"):
        registry.open("tuned")
    registry.put("tuned", write_model(tmp_path / "m.gguf"))
    assert [model.name for model in registry.unusable()] == ["cloud:120b"]
    assert registry.open("tuned").name == "tuned:latest"
