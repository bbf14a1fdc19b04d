"""Ollama's routes that change which models there are, over HTTP, with a registry on loopback to pull from."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from hypura_daemon.chat.prompts.template import check_template
from hypura_daemon.gateway.app import build
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.guard import Rules
from hypura_daemon.models.manager import ModelManager
from hypura_daemon.models.registry import Registry
from tests.daemon.models.files import gguf_bytes, write_model
from tests.daemon.models.test_pulling import MODEL, QUICK
from tests.daemon.models.web_server import Web, host_of, served, sha256, tree

WEIGHTS = gguf_bytes()
BODY_LIMIT_BYTES = 1 << 16


@dataclass
class Desk:
    client: httpx.AsyncClient
    registry: Registry
    home: Path

    async def lines(self, path: str, **asked: Any) -> list[Any]:
        """The lines of a streamed answer."""
        answer = await self.client.post(path, json=asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.text.endswith("\n")
        return [json.loads(line) for line in answer.text.splitlines()]

    async def refused(self, status: int, method: str, path: str, asked: object = None) -> str:
        """The error of a refused request."""
        answer = await self.client.request(method, path, json=asked)
        assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
        return str(answer.json()["error"])


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Desk]:
    async def unload(name: str) -> bool:
        return False

    registry = Registry(home)
    core = Core(
        inference=cast(Any, None),
        registry=registry,
        supervisor=cast(Any, None),
        settings=cast(Any, None),
        manager=ModelManager(registry, home, unload, check_template, QUICK),
    )
    app = build(core, Rules("127.0.0.1"), BODY_LIMIT_BYTES)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield Desk(client, registry, home)


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as web:
        web.add_model("library/m", MODEL)
        yield web


async def test_pull_copy_and_delete(tmp_path: Path, web: Web) -> None:
    name = f"{host_of(web)}/library/m"
    async with opened(tmp_path / "home") as desk:
        lines = await desk.lines("/api/pull", model=name, insecure=True)
        assert lines[0] == {"status": "pulling manifest"}
        assert [line["status"] for line in lines[-3:]] == ["verifying sha256 digest", "writing manifest", "success"]
        digest = sha256(WEIGHTS)
        of_weights = [line for line in lines if line.get("digest") == f"sha256:{digest}"]
        assert of_weights[-1] == {
            "status": f"pulling {digest[:12]}",
            "digest": f"sha256:{digest}",
            "total": len(WEIGHTS),
            "completed": len(WEIGHTS),
        }
        whole = await desk.client.post("/api/pull", json={"name": name, "insecure": True, "stream": False})
        assert whole.json() == {"status": "success"}
        copied = await desk.client.post("/api/copy", json={"source": name, "destination": "mine"})
        assert (copied.status_code, copied.content) == (200, b"")
        assert (await desk.client.request("DELETE", "/api/delete", json={"model": name})).status_code == 200
        assert [model.name for model in desk.registry.list()] == ["mine:latest"]
        assert (await desk.client.request("DELETE", "/api/delete", json={"name": "mine"})).status_code == 200
        assert not [file for file in tree(desk.home) if "sha256" in file]
        await desk.refused(404, "DELETE", "/api/delete", {"model": "mine"})
        await desk.refused(404, "POST", "/api/copy", {"source": "mine", "destination": "b"})
        assert "required" in await desk.refused(400, "POST", "/api/copy", {"source": "mine"})


async def test_copied_and_made_models_are_new_and_know_what_they_are_made_from(tmp_path: Path) -> None:
    file = write_model(tmp_path / "m.gguf", WEIGHTS)
    os.utime(file, (1e9, 1e9))
    async with opened(tmp_path / "home") as desk:
        desk.registry.add(file, "old")
        before = datetime.now(UTC)
        await desk.lines("/api/create", model="made", **{"from": "old"}, system="S")
        await desk.client.post("/api/copy", json={"source": "made", "destination": "copied"})
        await desk.client.post("/api/copy", json={"source": "old", "destination": "again"})

        def read(told: Any) -> tuple[bool, str]:
            return datetime.fromisoformat(told["modified_at"]) >= before, told["details"]["parent_model"]

        expected = {
            "old:latest": (False, ""), "made:latest": (True, "old:latest"), "copied:latest": (True, "old:latest"),
            "again:latest": (True, ""),
        }  # fmt: skip
        for registry in (desk.registry, Registry(tmp_path / "home")):
            listed = {model.name: model for model in registry.list()}
            assert {name: model.parent for name, model in listed.items()} == {n: p for n, (_, p) in expected.items()}
            assert listed["made:latest"].modified_seconds >= before.timestamp()
        tags = (await desk.client.get("/api/tags")).json()["models"]
        assert {told["name"]: read(told) for told in tags} == expected
        for name, values in expected.items():
            assert read((await desk.client.post("/api/show", json={"model": name})).json()) == values
        assert tags[0]["capabilities"] and tags[0]["details"]["context_length"] > 0


async def test_a_pull_that_fails(tmp_path: Path, web: Web) -> None:
    async with opened(tmp_path / "home") as desk:
        lines = await desk.lines("/api/pull", model=f"{host_of(web)}/library/none", insecure=True)
        assert lines[0] == {"status": "pulling manifest"}
        assert list(lines[-1]) == ["error"] and "has no model" in lines[-1]["error"]
        asked = {"model": f"{host_of(web)}/library/none", "insecure": True, "stream": False}
        assert "has no model" in await desk.refused(404, "POST", "/api/pull", asked)
        assert await desk.refused(400, "POST", "/api/pull", {}) == "model is required"
        await desk.refused(400, "POST", "/api/pull", {"model": "../x"})
        assert tree(tmp_path) == []


async def test_uploads_become_models(tmp_path: Path) -> None:
    async with opened(tmp_path / "home") as desk:
        path = f"/api/blobs/sha256:{sha256(WEIGHTS)}"
        assert (await desk.client.head(path)).status_code == 404
        assert (await desk.client.post(path, content=WEIGHTS)).status_code == 201
        assert (await desk.client.head(path)).status_code == 200
        assert (await desk.client.post(path, content=WEIGHTS)).status_code == 200
        lines = await desk.lines(
            "/api/create",
            model="up",
            files={"m.gguf": f"sha256:{sha256(WEIGHTS)}"},
            system="Be kind.",
            template="{{ .Prompt }}",
            license=["MIT", "more"],
            parameters={"temperature": 0.5, "stop": ["a", "b"], "num_ctx": None},
            messages=[{"role": "user", "content": "hi"}],
        )
        assert [line["status"] for line in lines] == ["parsing GGUF", "writing manifest", "success"]
        overrides = desk.registry.get("up").overrides
        assert (overrides.system, overrides.license, overrides.template_style) == ("Be kind.", "MIT\nmore", "go")
        assert overrides.parameters == (("temperature", "0.5"), ("stop", "a"), ("stop", "b"))
        assert overrides.messages == (("user", "hi"),)
        made = await desk.client.post("/api/create", json={"name": "b", "from": "up", "system": "x", "stream": False})
        assert made.json() == {"status": "success"}
        assert desk.registry.get("b").overrides.license == "MIT\nmore"
        other = f"/api/blobs/sha256:{'0' * 64}"
        assert "digest mismatch" in (await desk.client.post(other, content=b"x")).json()["error"]
        assert (await desk.client.post("/api/blobs/sha256:x", content=b"x")).status_code == 400


async def test_what_cannot_be_made(tmp_path: Path) -> None:
    file = write_model(tmp_path / "m.gguf")
    async with opened(tmp_path / "home") as desk:
        for asked, why in (
            ({}, "model is required"),
            ({"model": "a"}, "neither 'from' or 'files'"),
            ({"model": "a", "from": "b", "quantize": "q4_0"}, "quantize is not supported"),
            ({"model": "a", "from": "b", "adapters": {"x": "sha256:y"}}, "LoRA"),
            ({"model": "a", "from": "./b.gguf"}, "relative path"),
            ({"model": "a b", "from": str(file)}, "name"),
            ({"model": "a", "from": str(file), "parameters": {"warmth": 1}}, "unknown parameter"),
            ({"model": "a", "from": str(file), "template": "{{ if }}"}, "template"),
            ({"model": "a", "from": str(file), "messages": [{"role": "x"}]}, "role"),
            ({"model": "a", "files": {"m.gguf": "sha256:" + "0" * 64}}, "does not exist"),
            ({"model": "a", "files": {"m.safetensors": "sha256:" + "0" * 64}}, "not a GGUF"),
        ):
            assert why in await desk.refused(400, "POST", "/api/create", asked)
        lines = await desk.lines("/api/create", name="a", modelfile=f"FROM {file}\nSYSTEM old")
        assert lines[-1] == {"status": "success"}
        assert desk.registry.get("a").overrides.system == "old"


async def test_push_says_that_it_is_not_supported(tmp_path: Path) -> None:
    async with opened(tmp_path / "home") as desk:
        assert "not supported" in await desk.refused(501, "POST", "/api/push", {"model": "m"})
        answer = await desk.client.post("/api/push", json={"model": "m"})
        assert answer.text.startswith('{"error":"push'), "compact, as Ollama writes it"
