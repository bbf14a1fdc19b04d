"""Patterns of origins and hosts, as http_origins and http_hosts have them, and what they match. Pure.

    *                            every origin, or every host
    http://*.example.com         every subdomain, at the scheme's own port
    http://localhost:*           every port
    http://192.168.1.*           addresses that begin so, and no names
    app://*                      every origin of the scheme
    null                         pages without an origin, such as files and sandboxed frames

An origin is a scheme, a host and a port. Case, a slash at the end and a scheme's own port make no difference.
Sources: RFC 6454; the wildcards are those of Ollama's OLLAMA_ORIGINS.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

ANY = "*"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_NAME = re.compile(r"[a-z0-9*_-]+(\.[a-z0-9*_-]+)*", re.ASCII)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/?#@\s]*)(?::(\*|\d{1,5}))?", re.ASCII)
_OWN_PORTS = {"http": "80", "https": "443"}
_EXAMPLE = "write it as http://host, https://*.example.com, http://localhost:* or app://*"


@dataclass(frozen=True, slots=True)
class _Origin:
    """scheme, host and port in small letters; the port is empty where a scheme has none of its own."""

    scheme: str
    host: str
    port: str


def checked_origin(text: str) -> str:
    """The pattern as it is compared. Raises ValueError, with the remedy, for one that could never match."""
    pattern = text.strip().lower()
    if pattern not in (ANY, "null"):
        parsed = _parsed(pattern)
        if parsed.host != ANY and ANY in parsed.host:
            _check_wildcard(parsed.host, text)
    return pattern


def origin_matches(pattern: str, origin: str) -> bool:
    """Whether a page's Origin header fits the pattern, which has been checked."""
    if pattern == ANY or pattern == origin.strip().lower():
        return True
    if pattern == "null" or ANY in origin:
        return False
    try:
        wanted, given = _parsed(pattern), _parsed(origin.strip().lower())
    except ValueError:
        return False
    return wanted.scheme == given.scheme and wanted.port in (ANY, given.port) and _host_fits(wanted.host, given.host)


def checked_host(text: str) -> str:
    """A name, or a pattern of names, as it is compared: without its port. Raises ValueError, with the remedy."""
    pattern = text.strip().lower()
    if "://" in pattern or "/" in pattern:
        raise ValueError(f"{text!r} is not a host name; write the name alone, such as nas.local or *.example.com")
    match = _AUTHORITY.fullmatch(pattern)
    name = _ascii(match[1].rstrip(".")) if match is not None else ""
    if not name:
        raise ValueError(f"{text!r} is not a host name; write the name alone, such as nas.local or *.example.com")
    if name.startswith("["):
        return _address(name, text)
    if name != ANY:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{text!r} is not a host name; write the name alone, such as nas.local or *.example.com")
        _check_wildcard(name, text)
    return name


def host_matches(pattern: str, name: str) -> bool:
    """Whether a host's name, without port, fits the pattern, which has been checked."""
    return _host_fits(pattern, name.strip("[]"))


@lru_cache(maxsize=256)
def _parsed(text: str) -> _Origin:
    scheme, mark, rest = text.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        raise ValueError(f"{text!r} is not an origin, since it names no scheme; {_EXAMPLE}")
    match = _AUTHORITY.fullmatch(rest.rstrip("/"))
    if match is None:
        raise ValueError(f"{text!r} is not an origin, which has only a scheme, a host and a port; {_EXAMPLE}")
    host, port = _ascii(match[1]), match[2] or ""
    if port not in ("", ANY) and not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} has the port {port}; give one from 1 to 65535, or *")
    if scheme in _OWN_PORTS:
        if host.startswith("["):
            host = _address(host, text)
        elif not _NAME.fullmatch(host.rstrip(".")):
            raise ValueError(f"{text!r} names no host; {_EXAMPLE}")
    return _Origin(scheme, host.rstrip("."), port.lstrip("0") or _OWN_PORTS.get(scheme, ""))


def _check_wildcard(host: str, text: str) -> None:
    """A * in the last part could be any name; it is meant for addresses. Raises ValueError for other uses."""
    *before, last = host.split(".")
    if ANY in last and not (last == ANY and before and all(part.isdecimal() or part == ANY for part in before)):
        raise ValueError(
            f"{text!r} has a * where it would match hosts of anybody; put it before the domain, as *.example.com, "
            "or at an address's end, as 192.168.*"
        )


def _host_fits(pattern: str, host: str) -> bool:
    if pattern in (ANY, host):
        return True
    if ANY not in pattern or not host:
        return False
    if pattern.endswith(f".{ANY}") and not _is_address(host):
        return False
    pieces = (re.escape(piece) for piece in pattern.split(ANY))
    return re.fullmatch("[^:/@]+".join(pieces), host) is not None


def _ascii(host: str) -> str:
    """A name in other letters as browsers send it."""
    if host.isascii():
        return host
    try:
        return ".".join(label if label == ANY else label.encode("idna").decode() for label in host.split("."))
    except UnicodeError as error:
        raise ValueError(f"{host!r} is not a host name: {error}; write it in ASCII") from error


def _address(bracketed: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(bracketed[1:-1]))
    except ValueError as error:
        raise ValueError(f"{text!r} has the address {bracketed}, which is not an IP address; correct it") from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
