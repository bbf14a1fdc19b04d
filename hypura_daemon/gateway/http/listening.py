"""Opens the gateway: its listening socket, who has the port if it is taken, and whether others may reach it."""

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Protocol

import psutil
import structlog

from hypura.locations import HttpAddress
from hypura_daemon.errors import SettingsError
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.settings import Settings
from hypura_daemon.system.descriptors import Places

BACKLOG = 2048

_log = structlog.get_logger()


def listen(address: HttpAddress) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises SettingsError, with the owner of a taken port."""
    try:
        family, _, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"the gateway's host {address.host!r} cannot be found: {error}; set HYPURA_HTTP to host:port"
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(_explained(address, error)) from error
    listener.setblocking(False)
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(listener: socket.socket) -> str:
    """host:port, as clients write it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _explained(address: HttpAddress, error: OSError) -> str:
    remedy = 'set HYPURA_HTTP (or http in config.toml) to another host:port, or to "off" for no gateway'
    if error.errno == errno.EADDRINUSE:
        return f"port {address.port} of {address.host} is taken{_owner(address.port)}; end that process, or {remedy}"
    return f"the gateway cannot listen on {address.host}:{address.port}: {error.strerror}; {remedy}"


def _owner(port: int) -> str:
    """Which process listens there, as far as the system shows that to this user."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, PermissionError):
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
            try:
                return f" by {psutil.Process(connection.pid).name()}, pid {connection.pid}"
            except psutil.NoSuchProcess:
                return ""
    return ""


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
