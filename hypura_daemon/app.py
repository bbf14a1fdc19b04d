"""The daemon: it connects its parts, starts, serves, drains, and removes what it made."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from hypura_daemon.chat.prompts.template import check_template
from hypura_daemon.errors import HypuraError
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.opening import open_gateway
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
from hypura_daemon.rpc.inference import InferenceServicer
from hypura_daemon.rpc.server import RELAYED_SOCKET, ControlServer, relay
from hypura_daemon.rpc.status import StatusReporter, version
from hypura_daemon.scheduling.memory import default_memory_budget_bytes
from hypura_daemon.settings import Settings
from hypura_daemon.system.descriptors import divided, raise_limit
from hypura_daemon.system.endpoint import locked_home, prepare_socket
from hypura_daemon.system.leftovers import remove_leftovers
from hypura_daemon.system.service_manager import CONTROL, HTTP, Notifier, handed_sockets
from hypura_daemon.system.tasks import supervised
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess

CLOSE_SECONDS = 1.0
"""For calls that hold no model, such as Watch, once the daemon has drained."""
MEASURING_DELAY_SECONDS = 1.0
"""So that the first answers come before it: measuring takes all cores."""
LONGEST_PAUSE_SECONDS = 10.0
"""Before a background task that keeps failing is restarted: the end of the daemon may have to wait for one."""

_log = structlog.get_logger()


class Ending:
    """The daemon's end. The first request to end lets it drain; a second one ends it without waiting."""

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()

    def request(self, grace_seconds: float | None = None) -> None:
        """End, with this grace instead of the default if given."""
        if self.requested.is_set():
            self.hurried.set()
        if grace_seconds is not None:
            self.grace_seconds = grace_seconds
        self.requested.set()


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
            loop.add_signal_handler(number, ending.request)
        try:
            await _serve(settings, ending, handed, grpc_socket)
        finally:
            _remove_socket(grpc_socket)


async def _serve(
    settings: Settings, ending: Ending, handed: Mapping[str, Sequence[socket.socket]], grpc_socket: Path
) -> None:
    memory_budget_bytes = settings.memory_budget_bytes
    if memory_budget_bytes is None:
        memory = current().memory()
        memory_budget_bytes = default_memory_budget_bytes(memory.container_limit_bytes, memory.available_bytes)
    elif memory_budget_bytes > (container_limit_bytes := current().memory().container_limit_bytes):
        _log.warning(
            "the memory budget is lowered to what the machine has, or the container may use",
            memory_budget_bytes=memory_budget_bytes,
            container_limit_bytes=container_limit_bytes,
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
    if handed[CONTROL]:  # A connection that is relayed takes two descriptors more.
        places = replace(places, control=max(1, places.control // 3))
    gateway = await asyncio.to_thread(open_gateway, core, places, handed[HTTP])
    reporter = StatusReporter(settings, supervisor, hardware, gateway.address)
    control = ControlServicer(registry, hardware, planner, supervisor, reporter, manager, tunings, ending.request)
    server = ControlServer(
        grpc_socket,
        control,
        InferenceServicer(inference),
        connections=places.control,
        client_stall_seconds=settings.client_stall_seconds,
    )
    notifier = Notifier(os.environ)

    async with asyncio.TaskGroup() as tasks:

        def keep(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
            """Run the work as a task that is restarted when it fails, so that its failure ends no other task."""
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
            await server.report_health(serving=True)
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
            optional = (
                keep("measuring", partial(_measure, hardware, registry)),
                keep("preload", partial(preload, settings.preload, registry, supervisor, hardware)),
            )
            await ending.requested.wait()
            for task in optional:
                task.cancel()
            _log.info("ending", grace_seconds=ending.grace_seconds)
            notifier.stopping(ending.grace_seconds)
            gateway.end(ending.grace_seconds)
            await server.report_health(serving=False)
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


def _remove_socket(socket_path: Path) -> None:
    try:
        socket_path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("the control socket cannot be removed", path=str(socket_path), error=error.strerror)


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
    """Measure the machine, and the drives that hold models, where they were not measured before."""
    await asyncio.sleep(MEASURING_DELAY_SECONDS)
    try:
        await hardware.run(lambda: [model.path for model in registry.list()])
    except HypuraError as error:
        _log.warning("the machine is not measured; the next request for its figures tries again", error=str(error))


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
