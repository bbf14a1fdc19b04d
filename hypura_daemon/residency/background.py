"""Background work on the models: preload some at the start, and limit all while other programs need memory."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import aclosing

import psutil
import structlog

from hypura_daemon.errors import HypuraError, ShuttingDown
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.models.registry import Registry
from hypura_daemon.platforms.platform import Platform
from hypura_daemon.residency.lease import Use
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.scheduling.memory import budget_under_pressure
from hypura_daemon.system.threads import FILES, SYSTEM

FOR_EVER = Use(keep_alive_seconds=-1.0)
PRESSURE_SECONDS = 2.0
"""Between two measurements of the system's memory."""
MAX_NAMED_PROGRAMS = 3

_log = structlog.get_logger()


async def preload(names: Sequence[str], registry: Registry, supervisor: Supervisor, hardware: HardwareStore) -> None:
    """Load these models, one after the other, while the daemon serves already.

    They have a keep-alive without end and are not pinned: when another model's request needs their memory, they leave
    as any idle model does, and come back with the next request. (`hypuractl load --pin` pins a model.) The machine is
    measured first, since these models stay for long and no request waits for them yet, so that their plans follow
    measured figures. A model that cannot be loaded is logged, and the next one is tried.
    """
    if names:
        try:
            await hardware.profile()
        except HypuraError as error:
            _log.warning("models are preloaded without the machine's figures", error=str(error))
    for name in names:
        begun = time.monotonic()
        try:
            entry = await FILES(registry.get, name, key=name)
            async with supervisor.lease(entry.name, use=FOR_EVER):
                _log.info("preloaded", model=entry.name, seconds=round(time.monotonic() - begun, 3))
        except ShuttingDown:
            return
        except HypuraError as error:
            _log.error("a model cannot be preloaded", model=name, error=str(error))
        except Exception:
            _log.exception("preloading failed with an internal error", model=name)


def largest_programs() -> str:
    """The largest processes besides this one and its workers, for messages; reads /proc, so call it in a thread."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = []
    for process in psutil.process_iter(["name", "memory_info"]):
        memory = process.info["memory_info"]
        if process.pid not in ours and memory is not None:
            found.append((memory.rss, process.info["name"] or "?", process.pid))
    largest = sorted(found, reverse=True)[:MAX_NAMED_PROGRAMS]
    return ", ".join(f"{name} (pid {pid}) {rss / 1e9:.2f} GB" for rss, name, pid in largest)


async def watch_pressure(
    supervisor: Supervisor, platform: Platform, interval_seconds: float = PRESSURE_SECONDS
) -> None:
    """Give models less memory while other programs need it, and more again; runs until it is cancelled.

    It sleeps while no model is loaded.
    """
    memory_budget_bytes, current_budget_bytes = supervisor.memory_budget_bytes, supervisor.current_budget_bytes
    while True:
        async with aclosing(supervisor.watch()) as changes:
            async for snapshots in changes:
                if any(snapshot.memory_limit_bytes for snapshot in snapshots):
                    break
        memory, pressure = await SYSTEM(lambda: (platform.memory(), platform.pressure()))
        new_bytes = budget_under_pressure(
            current_budget_bytes, memory_budget_bytes, supervisor.planned_bytes, memory, pressure
        )
        if new_bytes != current_budget_bytes:
            _log.info(
                "models get less memory" if new_bytes < current_budget_bytes else "models get more memory",
                current_budget_bytes=new_bytes,
                available_bytes=memory.available_bytes,
                pressure=pressure.name.lower(),
            )
            current_budget_bytes = new_bytes
            others = await SYSTEM(largest_programs) if current_budget_bytes < memory_budget_bytes else ""
            supervisor.set_current_budget(current_budget_bytes, others)
        await asyncio.sleep(interval_seconds)
