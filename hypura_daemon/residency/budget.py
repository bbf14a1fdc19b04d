"""What the models hold of the budget, and what is told to those who find no room."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypura_daemon.errors import ServerBusy
from hypura_daemon.residency.state import Entry
from hypura_daemon.scheduling.eviction import Holder, Wish, evict, spare_bytes, told
from hypura_daemon.scheduling.memory import giveable_bytes, shrunk


@dataclass(frozen=True, slots=True)
class Room:
    """How room is made: models to unload, and the memory that others are left with."""

    victims: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Holdings:
    """One budget for all models; the entries are the supervisor's."""

    memory_budget_bytes: int
    entries: Mapping[str, Entry]
    remains: dict[int, Holder] = field(default_factory=dict)  # Workers that were killed and hang, by their pid.
    others: str = ""  # Who else takes the machine's memory, while models get less than in good times.

    def holders(self, *, without: str = "") -> list[Holder]:
        """Every model that holds memory, less one."""
        holders = (entry.holder() for entry in self.entries.values() if entry.name != without)
        return [*(holder for holder in holders if holder is not None), *self.remains.values()]

    def spare_bytes(self, name: str) -> int:
        """What a load of this model is offered now: idle models go, and busy ones give it half of their caches."""
        staying = [holder for holder in self.holders(without=name) if not holder.movable]
        return spare_bytes(self.memory_budget_bytes, self.holders(without=name)) + giveable_bytes(staying) // 2

    def granted_bytes(self, asked_bytes: int) -> int:
        """What a load that asks for so much is planned with: more than the whole budget is as good as all of it."""
        return min(asked_bytes, self.memory_budget_bytes)

    def most_spare_bytes(self, name: str) -> int:
        """What a load of this model may take at most now: busy models give all that they can."""
        staying = [holder for holder in self.holders(without=name) if not holder.movable]
        return spare_bytes(self.memory_budget_bytes, self.holders(without=name)) + giveable_bytes(staying)

    def reachable_bytes(self, name: str) -> int:
        """What a load of this model may take once all that are busy have ended."""
        return self.memory_budget_bytes - sum(
            holder.memory_limit_bytes - holder.giveable_bytes for holder in self.holders(without=name) if holder.pinned
        )

    def room(self, name: str, wanted_bytes: int) -> Room | None:
        """How this model finds room: idle models leave, and if that is not enough, busy ones shrink. None: not now."""
        holders = self.holders(without=name)
        victims = evict(self.memory_budget_bytes, holders, wanted_bytes)
        if victims is not None:
            return Room(victims)
        staying = [holder for holder in holders if not holder.movable and not holder.leaving]
        missing_bytes = wanted_bytes + sum(holder.memory_limit_bytes for holder in staying) - self.memory_budget_bytes
        limits = shrunk(staying, missing_bytes)
        return Room(tuple(h.name for h in holders if h.movable), limits) if limits is not None else None

    def excess(self) -> Room:
        """What must go, or shrink, after the budget has become smaller: caches first, then idle models."""
        holders = self.holders()
        excess_bytes = (
            sum(holder.memory_limit_bytes for holder in holders if not holder.leaving) - self.memory_budget_bytes
        )
        can_give_bytes = giveable_bytes(holders)
        if excess_bytes <= 0:
            return Room()
        victims: tuple[str, ...] = ()
        if excess_bytes > can_give_bytes:
            movable = tuple(holder.name for holder in holders if holder.movable)
            victims = evict(self.memory_budget_bytes + can_give_bytes, holders, 0) or movable
        left = [holder for holder in holders if holder.name not in victims]
        return Room(victims, shrunk(left, min(excess_bytes, giveable_bytes(left))) or {})

    def wishes(self) -> list[Wish]:
        """The models that wait for memory, the oldest first."""
        wishes = [
            Wish(entry.name, entry.draft.wanted_bytes, first.since_seconds)
            for entry in self.entries.values()
            if entry.draft is not None and entry.draft.wanted_bytes and (first := entry.unserved()) is not None
        ]
        return sorted(wishes, key=lambda wish: wish.since_seconds)

    def never_room(self, name: str, wanted_bytes: int) -> ServerBusy:
        """Pinned models are in the way, so waiting is of no use."""
        return ServerBusy(
            f'"{name}" needs {wanted_bytes / 1e9:.2f} GB, and {self._reason(name)}; unload one that is pinned, or ask '
            "for less memory"
        )

    def waited_in_vain(self, entry: Entry, waited_seconds: float) -> ServerBusy:
        """No room came in time."""
        wanted = entry.draft.wanted_bytes if entry.draft is not None else 0
        what = f"{wanted / 1e9:.2f} GB of memory" if wanted else "its turn"
        return ServerBusy(
            f'server busy: "{entry.name}" waited {waited_seconds:g} seconds for {what}, and {self._reason("")}; try '
            "again later, unload one, or ask for less memory"
        )

    def _reason(self, without: str) -> str:
        """Who has the memory, or what else is in the way."""
        budget = f"{self.memory_budget_bytes / 1e9:.2f} GB"
        if holders := self.holders(without=without):
            others = f", while other programs need memory: {self.others}" if self.others else ""
            return f"the budget of {budget} is held by {told(holders)}{others}"
        if self.others:
            return f"models get {budget} at most while other programs need memory: {self.others}"
        if planned := [f'"{entry.name}"' for entry in self.entries.values() if entry.draft is not None]:
            return f"the loads of {', '.join(planned)} are still being prepared"
        return f"the budget of {budget} has just become free"
