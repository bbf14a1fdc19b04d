"""The limit of descriptors: raised as far as the system allows, and divided so that workers can always start."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from hypura_daemon.errors import ServerBusy
from hypura_daemon.gateway.errors import http_status, message_of
from hypura_daemon.platforms.linux import Linux
from hypura_daemon.platforms.macos import MacOS
from hypura_daemon.rpc.errors import status_of
from hypura_daemon.system.descriptors import divided, out_of_descriptors, raise_limit


@pytest.mark.parametrize("limit", [64, 100, 256, 1024, 4096, 65536])
@pytest.mark.parametrize("most", [4, 1024, 60000])
def test_what_is_divided_is_never_more_than_there_is(limit: int, most: int) -> None:
    places = divided(limit, most)
    assert places.gateway >= 4 and places.control >= 4 and places.refusals >= 2
    assert places.gateway <= most and places.control <= most
    for_workers = limit - 24 - places.gateway - places.control - places.refusals
    assert for_workers >= min(limit // 4, 128)


def test_with_plenty_the_setting_counts() -> None:
    assert (divided(65536, 1024).gateway, divided(65536, 1024).control) == (1024, 1024)


class Limits:
    """getrlimit and setrlimit of a machine."""

    def __init__(self, soft: int, hard: int, refused: bool = False) -> None:
        self.now = (soft, hard)
        self.refused = refused

    def get(self, which: int) -> tuple[int, int]:
        return self.now

    def set(self, which: int, limits: tuple[int, int]) -> None:
        if self.refused:
            raise ValueError("current limit exceeds maximum limit")
        self.now = limits


@pytest.mark.parametrize(
    ("soft", "hard", "system", "given"),
    [
        (1024, 20000, 1 << 20, 20000),
        (1024, 1 << 20, 1 << 20, 65536),
        (256, resource.RLIM_INFINITY, 24576, 24576),  # macOS: no hard limit is told, and more is refused
        (64, 64, 1 << 20, 64),
        (1 << 20, 1 << 20, 1 << 20, 1 << 20),
    ],
)
def test_the_limit_is_raised(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, system: int, given: int) -> None:
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    mac = MacOS(run=lambda command: f"{system}\n")
    assert mac.most_descriptors() == system
    assert raise_limit(mac) == given
    assert limits.now == (given, hard)


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(256, resource.RLIM_INFINITY, refused=True)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    assert raise_limit(MacOS(run=lambda command: "10240")) == 256


def test_the_system_tells_its_most() -> None:
    assert Linux().most_descriptors() >= 1024


def test_a_lack_of_descriptors_is_reported_as_busy() -> None:
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/models/m.gguf")
    assert isinstance(out_of_descriptors(error), ServerBusy)
    assert http_status(error) == 503 and "ulimit -n" in message_of(error)
    code, words, name = status_of(error)
    assert (code.name, name) == ("RESOURCE_EXHAUSTED", "ServerBusy") and "ulimit -n" in words
    assert out_of_descriptors(OSError(errno.ENOENT, "gone")) is None
