"""Watches the system's memory while models are loaded, and limits them when others need it."""

import asyncio
import os
from contextlib import aclosing

import psutil
import structlog

from hypura_daemon.hardware.platform import Platform
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.scheduling.pressure import limited_bytes
from hypura_daemon.system.threads import SYSTEM

LOOK_SECONDS = 2.0
TOLD_PROGRAMS = 3

_log = structlog.get_logger()


def largest_programs() -> str:
    """The largest processes beside this one and its workers, for people; reads /proc, so call it in a thread."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = []
    for process in psutil.process_iter(["name", "memory_info"]):
        memory = process.info["memory_info"]
        if process.pid not in ours and memory is not None:
            found.append((memory.rss, process.info["name"] or "?", process.pid))
    largest = sorted(found, reverse=True)[:TOLD_PROGRAMS]
    return ", ".join(f"{name} (pid {pid}) {rss / 1e9:.2f} GB" for rss, name, pid in largest)


async def watch_pressure(supervisor: Supervisor, platform: Platform, look_seconds: float = LOOK_SECONDS) -> None:
    """Runs until it is cancelled; sleeps while no model is loaded."""
    full_bytes, limit_bytes = supervisor.budget_bytes, supervisor.limit_bytes
    while True:
        async with aclosing(supervisor.watch()) as changes:
            async for snapshots in changes:
                if any(snapshot.memory_bytes for snapshot in snapshots):
                    break
        memory, pressure = await SYSTEM(lambda: (platform.memory(), platform.pressure()))
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
            others = await SYSTEM(largest_programs) if limit_bytes < full_bytes else ""
            supervisor.limit(limit_bytes, others)
        await asyncio.sleep(look_seconds)
