"""Wildcards of http_origins and http_hosts: what they match, what they do not, and what is refused at the start."""

import pytest

from hypura_daemon.errors import SettingsError
from hypura_daemon.gateway.http.guard import Rules, host_allowed, origin_allowed
from hypura_daemon.settings import load_settings


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("*", "https://anything.example", True),
        ("http://*.example.com", "http://a.example.com", True),
        ("http://*.example.com", "http://a.b.example.com", True),
        ("http://*.example.com", "http://A.Example.COM", True),
        ("http://*.example.com", "http://example.com", False),
        ("http://*.example.com", "https://a.example.com", False),
        ("http://*.example.com", "http://a.example.com:8080", False),
        ("http://*.example.com", "http://a.example.com:80", True),
        ("http://*.example.com", "http://a.example.com.evil.org", False),
        ("http://*.example.com", "http://evilexample.com", False),
        ("http://*.example.com", "http://evil.org#.example.com", False),
        ("http://*.example.com", "http://evil.org/.example.com", False),
        ("http://*.example.com", "http://evil.org:1@a.example.com", False),
        ("http://*.example.com:*", "http://a.example.com:3000", True),
        ("https://app.example.com:443", "https://app.example.com", True),
        ("https://app.example.com", "https://app.example.com:443", True),
        ("https://app.example.com/", "https://app.example.com", True),
        ("HTTPS://App.Example.com", "https://app.example.com", True),
        ("https://app.example.com", "http://app.example.com", False),
        ("http://nas:*", "http://nas:5000", True),
        ("http://nas:*", "http://nas", True),
        ("http://nas:*", "http://nas.evil.org:5000", False),
        ("http://nas:5000", "http://nas:5001", False),
        ("http://192.168.1.*", "http://192.168.1.7", True),
        ("http://192.168.*:*", "http://192.168.1.7:3000", True),
        ("http://192.168.1.*", "http://192.168.1.evil.org", False),
        ("http://[fd00::1]:3000", "http://[fd00:0::1]:3000", True),
        ("https://*", "https://anything.example", True),
        ("https://*", "http://anything.example", False),
        ("chrome-extension://*", "chrome-extension://abcdef", True),
        ("chrome-extension://abcdef", "chrome-extension://other", False),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("null", "null", True),
        ("https://*.example.com", "null", False),
        ("https://*.example.com", "https://*.example.com", False),
        ("https://bücher.example", "https://xn--bcher-kva.example", True),
    ],
)
def test_origins(pattern: str, origin: str, allowed: bool) -> None:
    settings = load_settings({"home": "/nowhere", "http_origins": pattern})
    rules = Rules("127.0.0.1", origins=settings.gateway.origins)
    assert origin_allowed(rules, origin, "127.0.0.1:11434") is allowed or pattern == origin


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("nas.local", "nas.local", True),
        ("NAS.local.", "nas.LOCAL", True),
        ("nas.local:11434", "nas.local", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.example.com.evil.org", False),
        ("192.168.*", "192.168.1.2", True),
        ("192.168.*", "192.168.1.2.evil.org", False),
        ("[fd00::1]", "fd00::1", True),
        ("*", "anything.example", True),
    ],
)
def test_hosts(pattern: str, host: str, allowed: bool) -> None:
    settings = load_settings({"home": "/nowhere", "http_hosts": pattern})
    assert host_allowed(Rules("127.0.0.1", hosts=settings.gateway.hosts), host) is allowed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("http_origins", "example.com", "names no scheme"),
        ("http_origins", "*.example.com", "names no scheme"),
        ("http_origins", "localhost:3000", "names no scheme"),
        ("http_origins", "http://example.com/app", "which has only"),
        ("http_origins", "http://user@example.com", "which has only"),
        ("http_origins", "http://example.com:99999", "port 99999"),
        ("http_origins", "http://example.*", "hosts of anybody"),
        ("http_origins", "http://*example", "hosts of anybody"),
        ("http_origins", "http://", "names no host"),
        ("http_origins", "http://[::1", "which has only"),
        ("http_hosts", "http://nas.local", "write the name alone"),
        ("http_hosts", "nas.local/", "write the name alone"),
        ("http_hosts", "nas.*", "hosts of anybody"),
        ("http_hosts", "a b", "write the name alone"),
    ],
)
def test_what_could_not_be_meant_is_refused_at_the_start(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings({"home": "/nowhere", name: f"https://good.example,{value}" if "origins" in name else value})
    assert name.replace("_", "-") in str(caught.value)
