"""Opens the gateway as the settings say, and refuses one that anyone on the network could use."""

import socket
from collections.abc import Sequence
from typing import Protocol

import structlog

from hypura.locations import HttpAddress
from hypura_daemon.errors import SettingsError
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.listening import address_of, is_loopback, listen
from hypura_daemon.settings import Settings
from hypura_daemon.system.descriptors import Places

_log = structlog.get_logger()


class Gateway(Protocol):
    """What the daemon runs. address: host:port, empty when the gateway is off."""

    address: str

    async def run(self) -> None: ...
    def end(self, grace_seconds: float | None = None) -> None: ...
    def cut(self) -> None: ...


class NoGateway:
    """The gateway when it is off."""

    address = ""

    async def run(self) -> None:
        """Nothing to serve."""

    def end(self, grace_seconds: float | None = None) -> None:
        """Nothing to end."""

    def cut(self) -> None:
        """Nothing to cut."""


def open_gateway(core: Core, places: Places, handed: Sequence[socket.socket] = ()) -> Gateway:
    """The gateway, listening but not serving yet; handed: the service manager's sockets. Raises SettingsError."""
    settings = core.settings
    if settings.http is None and not handed:
        return NoGateway()
    # Not imported at the top: a daemon without a gateway needs neither Starlette nor uvicorn.
    from hypura_daemon.gateway.app import build
    from hypura_daemon.gateway.http.connections import Connections
    from hypura_daemon.gateway.http.guard import Rules
    from hypura_daemon.gateway.http.server import GatewayServer

    listeners = handed if settings.http is None or handed else [_listener(settings, settings.http)]
    host = listeners[0].getsockname()[0]
    if not handed and settings.http is not None:
        host = settings.http.host
    _check_open(settings, host)
    gateway = settings.gateway
    rules = Rules(host, gateway.hosts, gateway.origins, gateway.api_key)
    if handed:
        _log.info("the service manager opened the gateway's socket", http=address_of(listeners[0]))
    connections = Connections(places, settings.client_stall_seconds)
    return GatewayServer(build(core, rules, gateway.body_limit_bytes), listeners, settings.grace_seconds, connections)


def _listener(settings: Settings, address: HttpAddress) -> socket.socket:
    _check_open(settings, address.host)
    return listen(address)


def _check_open(settings: Settings, host: str) -> None:
    """Raises SettingsError for a gateway that anyone on the network could use."""
    gateway = settings.gateway
    if not is_loopback(host) and not gateway.api_key and not gateway.allow_anonymous:
        raise SettingsError(
            f"the gateway would listen on {host}, where other machines reach it, without an API key; set "
            "HYPURA_HTTP_API_KEY, or HYPURA_HTTP_ALLOW_ANONYMOUS=true if everyone there may use it"
        )
