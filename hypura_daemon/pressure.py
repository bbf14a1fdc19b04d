"""Watches the system's memory while models are loaded, and limits them when others need it."""

import asyncio
from contextlib import aclosing

import structlog

from hypura_daemon.hardware.platform import Platform
from hypura_daemon.scheduling.pressure import limited_bytes
from hypura_daemon.workers.supervisor import Supervisor

LOOK_SECONDS = 2.0

_log = structlog.get_logger()


async def watch_pressure(supervisor: Supervisor, platform: Platform, look_seconds: float = LOOK_SECONDS) -> None:
    """Runs until it is cancelled; sleeps while no model is loaded."""
    limit_bytes = supervisor.budget_bytes
    while True:
        async with aclosing(supervisor.watch()) as changes:
            async for snapshots in changes:
                if any(snapshot.memory_bytes for snapshot in snapshots):
                    break
        memory, pressure = await asyncio.to_thread(lambda: (platform.memory(), platform.pressure()))
        held_bytes = sum(snapshot.memory_bytes for snapshot in supervisor.status())
        new_bytes = limited_bytes(limit_bytes, supervisor.budget_bytes, held_bytes, memory, pressure)
        if new_bytes != limit_bytes:
            _log.info(
                "models get less memory" if new_bytes < limit_bytes else "models get more memory",
                limit_bytes=new_bytes,
                available_bytes=memory.available_bytes,
                pressure=pressure.name.lower(),
            )
            limit_bytes = new_bytes
            supervisor.limit(limit_bytes)
        await asyncio.sleep(look_seconds)
