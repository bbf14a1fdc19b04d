"""Loads the models that shall be there from the start, one after the other, while the daemon serves already.

They are kept as by a keep-alive that never ends, not pinned: when another model's request needs the room, they leave
as any idle model does, and come back by the next request. `hypuractl load --pin` is for those that must not.
"""

import time
from collections.abc import Sequence

import structlog

from hypura_daemon.errors import HypuraError, ShuttingDown
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.models.registry import Registry
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.residency.use import Use
from hypura_daemon.system.threads import FILES

FOR_EVER = Use(keep_alive_seconds=-1.0)

_log = structlog.get_logger()


async def preload(names: Sequence[str], registry: Registry, supervisor: Supervisor, hardware: HardwareStore) -> None:
    """A model that cannot be loaded is told in the log, and the next one is tried; returns when the daemon ends.

    They stay for long, and nobody waits yet: so the machine is measured first, and their plans are no makeshift.
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
            _log.exception("preloading met a defect", model=name)
