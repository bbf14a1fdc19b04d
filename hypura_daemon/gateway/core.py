"""What the routes work with."""

from dataclasses import dataclass

from hypura_daemon.inference import Inference
from hypura_daemon.models.manager import Shop
from hypura_daemon.models.registry import Registry
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.settings import Settings


@dataclass(frozen=True, slots=True)
class Core:
    """The daemon's parts that a request may need."""

    inference: Inference
    registry: Registry
    supervisor: Supervisor
    settings: Settings
    shop: Shop
