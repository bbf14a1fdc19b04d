"""Blocks of packed rows, made by worker processes while the model trains."""

import multiprocessing
import queue
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from tests.demo_model.data.mixture import documents
from tests.demo_model.documents import Rows, packed
from tests.demo_model.tokenizer import shipped

_WAITING_BLOCKS = 32
_STALL_SECONDS = 120.0


def _make_blocks(seed: int, rows: int, row_tokens: int, blocks: "multiprocessing.Queue[Rows]") -> None:
    for block in packed(documents(seed), shipped(), rows, row_tokens):
        blocks.put(block)


class Feed:
    """Blocks in no fixed order, from processes that each have a seed of their own; `with` ends them."""

    def __init__(self, seed: int, rows: int, row_tokens: int, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._blocks: multiprocessing.Queue[Rows] = context.Queue(_WAITING_BLOCKS)
        self._processes: list[SpawnProcess] = [
            context.Process(
                target=_make_blocks, args=(seed * 1009 + number, rows, row_tokens, self._blocks), daemon=True
            )
            for number in range(processes)
        ]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def next(self) -> Rows:
        """The next block. Raises RuntimeError when the processes have died or make none."""
        try:
            return self._blocks.get(timeout=_STALL_SECONDS)
        except queue.Empty:
            codes = [process.exitcode for process in self._processes]
            raise RuntimeError(
                f"no data came for {_STALL_SECONDS:.0f} s; the generators' exit codes are {codes} (None: still running)"
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        self._blocks.cancel_join_thread()
        self._blocks.close()
