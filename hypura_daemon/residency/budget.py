"""The memory budget of all models together: what each holds of it, how room is made, and errors when there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypura_daemon.errors import ServerBusy
from hypura_daemon.residency.state import SupervisedModel
from hypura_daemon.scheduling.eviction import Holder, Wish, described, evict, spare_bytes
from hypura_daemon.scheduling.memory import giveable_bytes, shrunk_limits


@dataclass(frozen=True, slots=True)
class Room:
    """How room is made: models to unload, and the memory limits that others shrink to."""

    victims: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryBudget:
    """One budget for all models; the models are the supervisor's."""

    current_budget_bytes: int  # What models may have now: less than the setting while other programs need memory.
    models: Mapping[str, SupervisedModel]
    hanging: dict[int, Holder] = field(default_factory=dict)  # Workers that were killed and hang, by their pid.
    other_programs: str = ""  # What else takes the machine's memory, while models get less than the setting.

    def holders(self, *, without: str = "") -> list[Holder]:
        """Every model that holds memory, less one."""
        holders = (model.holder() for model in self.models.values() if model.name != without)
        return [*(holder for holder in holders if holder is not None), *self.hanging.values()]

    def spare_bytes(self, name: str) -> int:
        """What a load of this model is offered now: idle models leave, and busy ones give it half of their caches."""
        staying = [holder for holder in self.holders(without=name) if not holder.movable]
        return spare_bytes(self.current_budget_bytes, self.holders(without=name)) + giveable_bytes(staying) // 2

    def granted_bytes(self, requested_bytes: int) -> int:
        """What a load that requests so much is planned with: the whole budget if it requests more."""
        return min(requested_bytes, self.current_budget_bytes)

    def most_spare_bytes(self, name: str) -> int:
        """What a load of this model may take at most now: busy models give all that they can."""
        staying = [holder for holder in self.holders(without=name) if not holder.movable]
        return spare_bytes(self.current_budget_bytes, self.holders(without=name)) + giveable_bytes(staying)

    def reachable_bytes(self, name: str) -> int:
        """What a load of this model may take once all that are busy have ended."""
        return self.current_budget_bytes - sum(
            holder.memory_limit_bytes - holder.giveable_bytes for holder in self.holders(without=name) if holder.pinned
        )

    def room(self, name: str, wanted_bytes: int) -> Room | None:
        """How this model finds room: idle models leave, and if that is not enough, busy ones shrink. None: not now."""
        holders = self.holders(without=name)
        victims = evict(self.current_budget_bytes, holders, wanted_bytes)
        if victims is not None:
            return Room(victims)
        staying = [holder for holder in holders if not holder.movable and not holder.leaving]
        missing_bytes = wanted_bytes + sum(holder.memory_limit_bytes for holder in staying) - self.current_budget_bytes
        limits = shrunk_limits(staying, missing_bytes)
        return Room(tuple(h.name for h in holders if h.movable), limits) if limits is not None else None

    def excess(self) -> Room:
        """What must leave, or shrink, after the budget has become smaller: caches first, then idle models."""
        holders = self.holders()
        excess_bytes = (
            sum(holder.memory_limit_bytes for holder in holders if not holder.leaving) - self.current_budget_bytes
        )
        can_give_bytes = giveable_bytes(holders)
        if excess_bytes <= 0:
            return Room()
        victims: tuple[str, ...] = ()
        if excess_bytes > can_give_bytes:
            movable = tuple(holder.name for holder in holders if holder.movable)
            victims = evict(self.current_budget_bytes + can_give_bytes, holders, 0) or movable
        left = [holder for holder in holders if holder.name not in victims]
        return Room(victims, shrunk_limits(left, min(excess_bytes, giveable_bytes(left))) or {})

    def wishes(self) -> list[Wish]:
        """The models that wait for memory, the oldest request first."""
        wishes = [
            Wish(model.name, model.pending.awaited_bytes, first.since_seconds)
            for model in self.models.values()
            if model.pending is not None
            and model.pending.awaited_bytes
            and (first := model.first_unserved()) is not None
        ]
        return sorted(wishes, key=lambda wish: wish.since_seconds)

    def no_room_error(self, name: str, wanted_bytes: int) -> ServerBusy:
        """The refusal when pinned models hold the memory, so that waiting is of no use."""
        return ServerBusy(
            f'"{name}" needs {wanted_bytes / 1e9:.2f} GB, and {self._reason(name)}; unload a pinned model, or ask '
            "for less memory"
        )

    def waited_too_long_error(self, model: SupervisedModel, waited_seconds: float) -> ServerBusy:
        """The refusal when no room was found in time."""
        awaited_bytes = model.pending.awaited_bytes if model.pending is not None else 0
        what = f"{awaited_bytes / 1e9:.2f} GB of memory" if awaited_bytes else "its turn"
        return ServerBusy(
            f'server busy: "{model.name}" waited {waited_seconds:g} seconds for {what}, and {self._reason("")}; try '
            "again later, unload a model, or ask for less memory"
        )

    def _reason(self, without: str) -> str:
        """Which models hold the memory, or what else is in the way."""
        budget = f"{self.current_budget_bytes / 1e9:.2f} GB"
        if holders := self.holders(without=without):
            others = f", while other programs need memory: {self.other_programs}" if self.other_programs else ""
            return f"the budget of {budget} is held by {described(holders)}{others}"
        if self.other_programs:
            return f"models get {budget} at most while other programs need memory: {self.other_programs}"
        if planned := [f'"{model.name}"' for model in self.models.values() if model.pending is not None]:
            return f"the loads of {', '.join(planned)} are still being prepared"
        return f"the budget of {budget} has just become free"
