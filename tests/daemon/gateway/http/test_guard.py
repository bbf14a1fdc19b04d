"""Which requests are taken: a table of Host and Origin headers, the key, and the shape of refusals."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from hypura_daemon.gateway.http.guard import Rules, guarded, host_allowed, origin_allowed

LOOPBACK = Rules("127.0.0.1")
OPEN = Rules("0.0.0.0", api_key="secret")
ANONYMOUS = Rules("0.0.0.0")


@pytest.mark.parametrize(
    ("rules", "host", "allowed"),
    [
        (LOOPBACK, "localhost", True),
        (LOOPBACK, "127.0.0.1", True),
        (LOOPBACK, "::1", True),
        (LOOPBACK, "LOCALHOST.", True),
        (LOOPBACK, "hypura.localhost", True),
        (LOOPBACK, "evil.com", False),
        (LOOPBACK, "127.0.0.1.evil.com", False),
        (LOOPBACK, "localhost.evil.com", False),
        (LOOPBACK, "192.168.1.4", False),
        (LOOPBACK, "", False),
        (LOOPBACK, "host.docker.internal", True),
        (LOOPBACK, "internal.evil.com", False),
        (Rules("127.0.0.1", hosts=("box.lan",)), "box.lan", True),
        (OPEN, "box.lan", True),
        (ANONYMOUS, "192.168.1.4", True),
        (ANONYMOUS, "rebound.evil.com", False),
    ],
)
def test_hosts(rules: Rules, host: str, allowed: bool) -> None:
    assert host_allowed(rules, host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:8080", True),
        ("app://obsidian.md", True),
        ("tauri://localhost", True),
        ("vscode-webview://abc", True),
        ("http://localhost.evil.com", False),
        ("https://evil.com", False),
        ("null", False),
        ("http://[broken", False),
        ("", False),
    ],
)
def test_origins(origin: str, allowed: bool) -> None:
    assert origin_allowed(LOOPBACK, origin, "localhost:11434") is allowed


def test_configured_origins() -> None:
    assert origin_allowed(Rules("127.0.0.1", origins=("https://chat.example",)), "https://chat.example", "localhost")
    assert not origin_allowed(Rules("127.0.0.1", origins=("https://chat.example",)), "https://x.example", "localhost")
    assert origin_allowed(Rules("127.0.0.1", origins=("*",)), "https://anybody.example", "localhost")
    assert origin_allowed(LOOPBACK, "http://box.lan:11434", "box.lan:11434"), "a page of this server itself"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"path": Request(scope).url.path})(scope, receive, send)


def client(rules: Rules) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded(application, rules)), base_url="http://localhost")


@pytest.mark.parametrize(
    ("path", "keys"), [("/api/tags", {"error"}), ("/v1/models", {"error"}), ("/v1/messages", {"type", "error"})]
)
async def test_refusals_have_their_dialects_shape(path: str, keys: set[str]) -> None:
    async with client(OPEN) as http:
        refused = await http.get(path)
        assert refused.status_code == 401 and keys <= refused.json().keys()
        for headers in ({"authorization": "Bearer secret"}, {"x-api-key": "secret"}):
            assert (await http.get(path, headers=headers)).status_code == 200
        assert (await http.get(path, headers={"authorization": "Bearer secret2"})).status_code == 401
        assert (await http.get("/api/version")).status_code == 200
    async with client(LOOPBACK) as http:
        for headers in ({"host": "evil.com"}, {"origin": "https://evil.com"}):
            refused = await http.get(path, headers=headers)
            assert refused.status_code == 403 and keys <= refused.json().keys()


async def test_a_page_that_may_ask_gets_its_preflight_without_a_key() -> None:
    async with client(OPEN) as http:
        headers = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
        preflight = await http.options("/api/chat", headers=headers | {"access-control-request-headers": "x-api-key"})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "http://localhost:3000"
        foreign = await http.options("/api/chat", headers=headers | {"origin": "https://evil.com"})
        assert foreign.status_code == 403


async def test_options_without_an_origin_are_no_error() -> None:
    async with client(LOOPBACK) as http:
        assert (await http.options("/api/tags")).status_code == 204
        assert (await http.options("/api/tags", headers={"host": "evil.com"})).status_code == 403


async def test_two_host_headers_are_refused_whatever_they_name() -> None:
    """Of two, a proxy may have checked one and this server the other."""
    async with client(LOOPBACK) as http:
        refused = await http.get("/api/tags", headers=[("host", "localhost"), ("host", "evil.com")])
        assert refused.status_code == 400 and "2 Host headers" in refused.json()["error"]
