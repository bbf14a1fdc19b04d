"""Where the experts of a group of layers may go in its slots: the layout whose reads are fastest there.

    in order of preference             what it asks
    whole pages, file and memory       slots of up to 32 classes, enough of each to choose from
    as the file system asks            slots of up to 16 classes
    by way of a buffer                 nothing

Reads that begin in the middle of a page are a tenth slower, and those through a buffer half as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypura_worker.streaming.geometry import PAGE_BYTES, Slices, lay_out, paged
from hypura_worker.streaming.reader import Alignment

_PAGE_CLASSES, _CLASSES = 32, 16
_CHOICE = 8
"""Slots of each class below which replacement has too few to choose from, and faster reads do not make up for it."""


@dataclass(frozen=True, slots=True)
class FusedTensor:
    """All experts of one layer and component: slice_bytes each, the first at offset_bytes of descriptor's file."""

    address: int
    descriptor: int
    offset_bytes: int
    slice_bytes: int
    component: str


def lay_out_slots(
    tensors: Sequence[FusedTensor],
    experts: int,
    alignment: Alignment,
    slots: int,
    enough: Callable[[int], bool],
) -> tuple[dict[int, Slices], int]:
    """The layout of each tensor by address, and in how many classes the group's slots fall.

    enough: whether the slots serve a pass when they are divided into so many classes.
    """
    alike = len({(t.component, t.slice_bytes) for t in tensors}) == len({t.component for t in tensors})

    def made(way: Alignment, most: int) -> dict[int, Slices]:
        return {
            t.address: lay_out(t.descriptor, t.offset_bytes, t.slice_bytes, experts, way, max_classes=most)
            for t in tensors
        }

    def divided(layouts: dict[int, Slices]) -> int:
        return math.lcm(*(slices.classes for slices in layouts.values()))

    alignment = paged(alignment, min(t.slice_bytes for t in tensors))
    if alignment.offset_bytes >= PAGE_BYTES:
        layouts = made(Alignment(alignment.offset_bytes, max(alignment.memory_bytes, PAGE_BYTES)), _PAGE_CLASSES)
        classes = divided(layouts)
        direct = not any(slices.bounce for slices in layouts.values())
        if direct and (classes == 1 or (alike and enough(classes) and slots >= _CHOICE * classes)):
            return layouts, classes
    layouts = made(alignment, _CLASSES)
    classes = divided(layouts)
    return (layouts, classes) if classes == 1 or (alike and enough(classes)) else (made(alignment, 1), 1)
