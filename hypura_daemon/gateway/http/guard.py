"""Which requests the gateway takes: by their Host header, their Origin header, and their API key where one is set.

A page of any site can make a browser send requests to 127.0.0.1. The Origin header shows which page it was; the Host
header shows a name that was made to point here (DNS rebinding). The content type shows nothing: curl -d sends JSON as
a form.
"""

import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hypura_daemon.gateway.dialects import refusal
from hypura_daemon.gateway.http.listening import is_loopback
from hypura_daemon.system.origins import host_matches, origin_matches

APPLICATION_SCHEMES = ("app", "file", "tauri", "vscode-webview", "vscode-file")
"""Origins of desktop applications, which no web page can have."""
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_OPEN_PATHS = ("/", "/api/version")
"""Answered without a key: clients ask them whether a server is running."""


@dataclass(frozen=True, slots=True)
class Rules:
    """bound_host: where the gateway listens; hosts: further host names that requests may use; origins: further origins;
    both may have wildcards, and have been checked by origins.py; api_key: empty for none.
    """

    bound_host: str
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    api_key: str = ""


def host_allowed(rules: Rules, host: str) -> bool:
    """Whether a Host header, without its port, names this server. Pure."""
    name = host.lower().rstrip(".")
    # Beyond loopback, clients reach it by names that are not known here. A rebound page has no key; without a key, an
    # IP address is safe, since rebinding needs a name.
    if not is_loopback(rules.bound_host) and (rules.api_key or _is_address(name)):
        return True
    # Names in .internal resolve only in private networks; containers reach this machine by such a name.
    if name in (*_LOCAL_HOSTS, rules.bound_host) or is_loopback(name) or name.endswith(".internal"):
        return True
    return any(host_matches(pattern, name) for pattern in rules.hosts)


def origin_allowed(rules: Rules, origin: str, host: str) -> bool:
    """Whether a page of this origin may send requests; host is the Host header with its port. Pure."""
    if any(origin_matches(pattern, origin) for pattern in rules.origins):
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme in APPLICATION_SCHEMES:
        return True
    if parts.scheme not in ("http", "https"):
        return False
    return name in _LOCAL_HOSTS or is_loopback(name) or parts.netloc.lower() == host.lower()


def key_given(headers: Headers) -> str:
    """The key that a request has: a bearer token, or Anthropic's header."""
    authorization = headers.get("authorization", "")
    kind, _, token = authorization.partition(" ")
    return token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")


class Guard:
    """The outer layer: checks Host, then Origin."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts, origin = headers.getlist("host"), headers.get("origin")
        host = hosts[0] if hosts else ""
        if len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
            # RFC 9112, 3.2. Of two, a proxy may have checked the other one.
            message = f"the request has {len(hosts)} Host headers; send one"
            await refusal(scope["path"], 400, message)(scope, receive, send)
            return
        # Without a Host header it is an HTTP/1.0 client, which is not a browser.
        if hosts and not host_allowed(self._rules, _without_port(host)):
            message = f"the Host header names {host[:100]!r}, which is not this server; use localhost or set http_hosts"
        elif origin is not None and not origin_allowed(self._rules, origin, host):
            message = f"pages of {origin[:100]!r} are not allowed; add it to http_origins if they should be"
        elif scope["method"] == "OPTIONS" and "access-control-request-method" not in headers:
            # Not a preflight, but Ollama answers it as one.
            await Response(status_code=204)(scope, receive, send)
            return
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope["path"], 403, message)(scope, receive, send)


class KeyCheck:
    """The inner layer: checks the key. A preflight has none, so CORS answers it before."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._key = rules.api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._key and scope["path"] not in _OPEN_PATHS:
            given = key_given(Headers(scope=scope)).encode()
            if not hmac.compare_digest(given, self._key):
                message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`"
                await refusal(scope["path"], 401, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def guarded(app: ASGIApp, rules: Rules) -> ASGIApp:
    """The application behind Host, Origin, CORS and key."""
    with_cors = CORSMiddleware(
        KeyCheck(app, rules),
        allow_origin_regex=".*",  # The guard has checked the origin.
        allow_methods=["*"],
        allow_headers=["*"],
        max_age=12 * 3600,
    )
    return Guard(with_cors, rules)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
