"""The daemon: wires its parts, starts, serves, drains, and leaves nothing behind."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hypura.v1 import control_pb2_grpc, inference_pb2_grpc
from hypura_daemon.chat.prompts.template import check_template
from hypura_daemon.errors import HypuraError, SettingsError
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.listening import open_gateway
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.inference import Inference
from hypura_daemon.models.manager import ModelManager
from hypura_daemon.models.registry import Registry
from hypura_daemon.models.stores.places import stores_at
from hypura_daemon.planning.load_planner import LoadPlanner
from hypura_daemon.planning.tunings import Tunings
from hypura_daemon.platforms.platform import current
from hypura_daemon.residency.background import preload, watch_pressure
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.rpc.control import ControlServicer
from hypura_daemon.rpc.errors import ErrorInterceptor
from hypura_daemon.rpc.inference import InferenceServicer
from hypura_daemon.rpc.relay import RELAYED_SOCKET, relay
from hypura_daemon.rpc.status import StatusReporter, version
from hypura_daemon.scheduling.memory import default_memory_budget_bytes
from hypura_daemon.settings import Settings
from hypura_daemon.system.descriptors import divided, raise_limit
from hypura_daemon.system.endpoint import locked_home, prepare_socket
from hypura_daemon.system.leftovers import remove_leftovers
from hypura_daemon.system.service_manager import CONTROL, HTTP, Notifier, handed_sockets
from hypura_daemon.system.tasks import supervised
from hypura_daemon.workers.process import MAX_MESSAGE_BYTES, WorkerDeadlines, WorkerProcess

CLOSE_SECONDS = 1.0
"""For calls that hold no model, such as Watch, once the daemon has drained."""
MEASURING_DELAY_SECONDS = 1.0
"""The first answers come before it: measuring takes all cores."""
LONGEST_PAUSE_SECONDS = 10.0
"""Before a background task that keeps failing is begun anew: the end of the daemon may have to wait for one."""
MAX_CALLS = 4096
"""Of all clients on the control socket; beyond, a call is refused with RESOURCE_EXHAUSTED."""
HANDSHAKE_SECONDS = 20.0
"""For the first words of a connection to the control socket."""
IDLE_CONNECTION_SECONDS = 600.0
"""Then a connection without calls is closed; gRPC's clients open another when they need it."""
_SERVICES = ("", "hypura.v1.ControlService", "hypura.v1.InferenceService")

_log = structlog.get_logger()


class Ending:
    """That the daemon shall end: asked for once it drains, asked for twice it hurries."""

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self, grace_seconds: float | None = None) -> None:
        """End, with this grace instead of the default if given."""
        if self.asked.is_set():
            self.hurried.set()
        if grace_seconds is not None:
            self.grace_seconds = grace_seconds
        self.asked.set()


async def serve(settings: Settings) -> None:
    """Run the daemon until SIGTERM, SIGINT or Shutdown. Raises SettingsError, AlreadyRunning."""
    with locked_home(settings.home):
        handed = handed_sockets(os.environ)
        grpc_socket = settings.socket
        if handed[CONTROL]:
            grpc_socket = settings.socket.with_name(RELAYED_SOCKET)
        await asyncio.to_thread(prepare_socket, grpc_socket, private_folder=settings.private_socket_folder)
        await asyncio.to_thread(remove_leftovers, settings.home, settings.socket.parent)
        ending = Ending(settings.grace_seconds)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.ask)
        try:
            await _serve(settings, ending, handed, grpc_socket)
        finally:
            _take_away(grpc_socket)


async def _serve(
    settings: Settings, ending: Ending, handed: Mapping[str, Sequence[socket.socket]], grpc_socket: Path
) -> None:
    memory_budget_bytes = settings.memory_budget_bytes
    if memory_budget_bytes is None:
        memory = current().memory()
        memory_budget_bytes = default_memory_budget_bytes(memory.container_limit_bytes, memory.available_bytes)
    elif memory_budget_bytes > (container_limit_bytes := current().memory().container_limit_bytes):
        _log.warning(
            "the budget is more than this machine has, which is the limit",
            asked=memory_budget_bytes,
            has=container_limit_bytes,
        )
        memory_budget_bytes = container_limit_bytes
    stores = stores_at(settings.stores, os.environ, Path.home())
    registry = await asyncio.to_thread(Registry, settings.home, stores)
    hardware = HardwareStore(settings.home)
    tunings = Tunings(settings.home / "tuning")
    planner = LoadPlanner(
        registry, hardware, settings.context_tokens, settings.sequences, settings.home / "experts", tunings
    )
    supervisor = Supervisor(
        planner,
        partial(_make_worker, settings),
        memory_budget_bytes=memory_budget_bytes,
        reload_wait_seconds=settings.reload_wait_seconds,
        rules=settings.rules,
    )
    manager = ModelManager(registry, settings.home, supervisor.unload, check_template)
    inference = Inference(
        supervisor, registry, context_tokens=settings.context_tokens, log_content=settings.log_content
    )
    core = Core(inference, registry, supervisor, settings, manager)
    limit = raise_limit()
    places = divided(limit, settings.connections)
    if handed[CONTROL]:  # Each takes two descriptors more where it is passed on.
        places = replace(places, control=max(1, places.control // 3))
    gateway = await asyncio.to_thread(open_gateway, core, places, handed[HTTP])
    reporter = StatusReporter(settings, supervisor, hardware, gateway.address)
    control = ControlServicer(registry, hardware, planner, supervisor, reporter, manager, tunings, ending.ask)
    services = control, InferenceServicer(inference)
    server, healthy = _make_server(grpc_socket, *services, places.control, settings.client_stall_seconds)
    notifier = Notifier(os.environ)

    async with asyncio.TaskGroup() as tasks:

        def keep(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
            """Run it beside the others, of which none ends for its sake."""
            return tasks.create_task(supervised(name, work, longest_pause_seconds=LONGEST_PAUSE_SECONDS), name=name)

        keep("supervisor", supervisor.run)
        relays: list[asyncio.Task[None]] = []
        watching = (
            keep("watchdog", notifier.watch),
            keep("memory pressure", partial(watch_pressure, supervisor, current())),
        )
        try:
            await server.start()
            keep("gateway", gateway.run)
            for listener in handed[CONTROL]:
                relays.append(keep("control relay", partial(relay, listener, grpc_socket, places.control)))
            await _say(healthy, health_pb2.HealthCheckResponse.SERVING)
            _log.info(
                "serving",
                socket=str(settings.socket),
                http=gateway.address,
                memory_budget_bytes=memory_budget_bytes,
                descriptors=limit,
                connections=places.gateway,
                control_connections=places.control,
                version=version(),
            )
            notifier.ready(f"serving on {gateway.address or settings.socket}")
            behind = (
                keep("measuring", partial(_measure, hardware, registry)),
                keep("preload", partial(preload, settings.preload, registry, supervisor, hardware)),
            )
            await ending.asked.wait()
            for task in behind:
                task.cancel()
            _log.info("ending", grace_seconds=ending.grace_seconds)
            notifier.stopping(ending.grace_seconds)
            gateway.end(ending.grace_seconds)
            await _say(healthy, health_pb2.HealthCheckResponse.NOT_SERVING)
            await _first_of(supervisor.drain(ending.grace_seconds), ending.hurried.wait())
        finally:
            gateway.end()
            gateway.cut()
            supervisor.end()
            for task in watching:
                task.cancel()
            await hardware.close()
            await server.stop(CLOSE_SECONDS)
            for passing in relays:
                passing.cancel()
            notifier.close()
    _log.info("ended")


def _take_away(socket_path: Path) -> None:
    try:
        socket_path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("the control socket is left behind", path=str(socket_path), error=error.strerror)


def _make_server(
    path: Path, control: ControlServicer, inference: InferenceServicer, connections: int, client_stall_seconds: float
) -> tuple[grpc.aio.Server, Any]:
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor(client_stall_seconds)],
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
            ("grpc.max_connection_idle_ms", int(IDLE_CONNECTION_SECONDS * 1000)),
        ],
    )
    control_pb2_grpc.add_ControlServiceServicer_to_server(control, server)  # type: ignore[no-untyped-call]
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(inference, server)  # type: ignore[no-untyped-call]
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    before = os.umask(0o177)  # The socket must not be open to others even for a moment.
    try:
        server.add_insecure_port(f"unix:{quote(str(path))}")  # an address is a URI
        path.chmod(0o600)
    except (RuntimeError, OSError) as error:
        raise SettingsError(f"the control socket {path} cannot be made; set HYPURA_SOCKET to another path") from error
    finally:
        os.umask(before)
    return server, healthy


def _make_worker(settings: Settings, name: str) -> WorkerProcess:
    deadlines = WorkerDeadlines(
        start_seconds=settings.worker_start_seconds,
        load_stall_seconds=settings.load_stall_seconds,
        answer_stall_seconds=settings.answer_stall_seconds,
        grace_seconds=min(settings.grace_seconds, 5.0),
        deaf_seconds=settings.worker_deaf_seconds,
    )
    return WorkerProcess(name, settings.socket.parent, deadlines, log_level=settings.log_level)


async def _measure(hardware: HardwareStore, registry: Registry) -> None:
    """Measure what is not known of the machine and of the drives that hold models."""
    await asyncio.sleep(MEASURING_DELAY_SECONDS)
    try:
        await hardware.run(lambda: [model.path for model in registry.list()])
    except HypuraError as error:
        _log.warning("the machine is not measured; what asks for its figures tries again", error=str(error))


async def _say(healthy: Any, status: int) -> None:
    for service in _SERVICES:
        await healthy.set(service, status)


async def _first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of them to end; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
