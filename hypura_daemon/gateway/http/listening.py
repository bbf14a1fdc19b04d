"""The gateway's listening socket, and who has the port if it is taken."""

import errno
import ipaddress
import socket

import psutil

from hypura.locations import HttpAddress
from hypura_daemon.errors import SettingsError

BACKLOG = 2048


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
