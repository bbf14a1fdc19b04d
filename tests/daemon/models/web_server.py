"""A registry and a Hugging Face hub on loopback, with the faults of real ones."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

OLLAMA = "application/vnd.ollama.image."
TOKEN = "let-me-in"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Web:
    """The server's files and faults."""

    files: dict[str, bytes] = field(default_factory=dict)  # by path
    wants_token: bool = False
    knows_ranges: bool = True
    cut_after_bytes: int = 0  # Close the connection there, as often as cuts says.
    cuts: int = 0
    hold: threading.Event = field(default_factory=threading.Event)  # What is under `held` waits after its first half.
    held: str = ""
    failures: int = 0  # Answer 503 so often.
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    address: str = ""
    reached: threading.Event = field(default_factory=threading.Event)

    def add_model(self, name: str, blobs: list[tuple[str, bytes]], tag: str = "latest") -> list[str]:
        """A model of an Ollama registry: its blobs by kind; their digests."""
        layers = []
        for kind, content in blobs:
            digest = sha256(content)
            self.files[f"/v2/{name}/blobs/sha256:{digest}"] = content
            layers.append({"mediaType": OLLAMA + kind, "digest": f"sha256:{digest}", "size": len(content)})
        config, *rest = sorted(layers, key=lambda layer: not str(layer["mediaType"]).endswith("config"))
        manifest = {"schemaVersion": 2, "config": config, "layers": rest}
        self.files[f"/v2/{name}/manifests/{tag}"] = json.dumps(manifest).encode()
        return [str(layer["digest"]) for layer in layers]

    def add_repository(self, name: str, files: dict[str, bytes]) -> None:
        """A repository of the hub."""
        siblings = []
        for path, content in files.items():
            self.files[f"/{name}/resolve/c0ffee/{path}"] = content
            lfs = {"sha256": sha256(content), "size": len(content), "pointerSize": 1}
            siblings.append({"rfilename": path, "size": len(content), "lfs": lfs, "blobId": "b"})
        info = {"id": name, "modelId": name, "sha": "c0ffee", "siblings": siblings, "private": False, "tags": []}
        self.files[f"/api/models/{name}"] = json.dumps(info).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        web, parts = self.web, urlsplit(self.path)
        path = parts.path.replace("%3A", ":")
        web.asked[path] += 1
        if path == "/token":
            assert parse_qs(parts.query)["scope"] == ["repository:m:pull"]
            return self.answer(200, json.dumps({"token": TOKEN}).encode())
        if web.wants_token and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="{web.address}/token",service="test",scope="repository:m:pull"'
            return self.answer(401, b"", {"WWW-Authenticate": challenge})
        content = web.files.get(path)
        if content is None:
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        bulky = "/blobs/" in path or "/resolve/" in path
        if bulky and web.failures:
            web.failures -= 1
            return self.answer(503, b"")
        start = 0
        if given := self.headers.get("Range"):
            web.ranges.append(given)
            start = int(given.removeprefix("bytes=").rstrip("-")) if web.knows_ranges else 0
        if start >= len(content) > 0:
            return self.answer(416, b"")
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        return self.answer(206 if start else 200, content[start:], headers, bulky=bulky, path=path)

    def answer(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        bulky: bool = False,
        path: str = "",
    ) -> None:
        web = self.web
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            if bulky and web.cuts and len(content) > web.cut_after_bytes:
                web.cuts -= 1
                self.wfile.write(content[: web.cut_after_bytes])
                self.wfile.flush()
                self.close_connection = True
            elif bulky and web.held and web.held in path:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                web.reached.set()
                web.hold.wait(60)
                self.wfile.write(content[len(content) // 2 :])
            else:
                self.wfile.write(content)
        except OSError:
            self.close_connection = True  # The client has gone.


@contextmanager
def served() -> Iterator[Web]:
    """A server on a free port of loopback."""
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    server.daemon_threads = True
    web.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        web.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def host_of(web: Web) -> str:
    return web.address.removeprefix("http://")


def tree(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
