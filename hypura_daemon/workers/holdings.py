"""What the models hold of the budget, and what is told to those who find no room."""

from collections.abc import Mapping
from dataclasses import dataclass

from hypura_daemon.errors import ServerBusy
from hypura_daemon.scheduling.eviction import Holder, evict, spare_bytes, told
from hypura_daemon.scheduling.turns import Wish
from hypura_daemon.workers.entry import Entry


@dataclass(frozen=True, slots=True)
class Holdings:
    """One budget for all models; the entries are the supervisor's."""

    budget_bytes: int
    entries: Mapping[str, Entry]

    def holders(self, *, without: str = "") -> list[Holder]:
        """Every model that holds memory, less one."""
        holders = (entry.holder() for entry in self.entries.values() if entry.name != without)
        return [holder for holder in holders if holder is not None]

    def spare_bytes(self, name: str) -> int:
        """What a load of this model may take at most now."""
        return spare_bytes(self.budget_bytes, self.holders(without=name))

    def reachable_bytes(self, name: str) -> int:
        """What a load of this model may take once all that are busy have ended."""
        return self.budget_bytes - sum(h.memory_bytes for h in self.holders(without=name) if h.pinned)

    def victims(self, name: str, wanted_bytes: int) -> tuple[str, ...] | None:
        """The models to unload for this one; None when there is no room."""
        return evict(self.budget_bytes, self.holders(without=name), wanted_bytes)

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
            f'"{name}" needs {wanted_bytes / 1e9:.2f} GB, and the budget of {self.budget_bytes / 1e9:.2f} GB is '
            f"held by {self._told(name)}; unload one that is pinned, or ask for less memory"
        )

    def waited_in_vain(self, entry: Entry, waited_seconds: float) -> ServerBusy:
        """No room came in time."""
        wanted = entry.draft.wanted_bytes if entry.draft is not None else 0
        what = f"{wanted / 1e9:.2f} GB of memory" if wanted else "its turn"
        return ServerBusy(
            f'server busy: "{entry.name}" waited {waited_seconds:g} seconds for {what}, and the budget of '
            f"{self.budget_bytes / 1e9:.2f} GB is held by {self._told('')}; try again later, unload one, "
            "or ask for less memory"
        )

    def _told(self, without: str) -> str:
        return told(self.holders(without=without)) or "nobody"
