"""Where a slice of a file lands inside its place in memory, so that direct reads need no copy.

    file     ──┬─────────┬───────────────┬────┬──     direct reads start and end at
               │  front  │     slice     │back│       multiples of the offset alignment
               ▼         ▼               ▼    ▼
    memory   ──┴─────────┴───────────────┴────┴──
             place     place + shift        place + stride

Four cases, in order of preference:
- `window`: all slices of a tensor start at the same distance from an aligned offset
  (slice sizes are multiples of the alignment): the shift is that distance.
- `shifted`: memory may be addressed finely, so that each window is read to where its slice
  starts at a fixed shift, with room for the spill on both sides.
- `classes`: memory needs coarse addresses too, but slice i and place p agree modulo it
  whenever i and p are equal modulo `classes`: slices may only go to places of their class.
- `bounce`: none of these applies; windows pass through an aligned buffer and are copied.

The slots of a group of layers take the layout whose reads are fastest there:

    in order of preference             what it needs
    whole pages, file and memory       slots of up to 32 classes, enough of each to choose from
    as the file system requires        slots of up to 16 classes
    by way of a buffer                 nothing

Reads that begin in the middle of a page are a tenth slower, and those through a buffer half as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypura_worker.streaming.reader import READ, Alignment

PAGE_BYTES = 4096
"""Reads of whole pages, in the file and in memory, are the fastest."""
_PADDED_BYTES = 256 << 10
_FINE_BYTES = 32
"""GGUF aligns tensors to at least this: an address alignment up to it can always be met."""
_PLACE_BYTES = 64
_PAGE_CLASSES, _CLASSES = 32, 16
_CHOICE = 8
"""Slots of each class below which replacement has too few to choose from, and faster reads do not make up for it."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Slices of equal length in one tensor, and the layout of a place for one of them.

    offset_bytes: of slice 0 in the file; slice_bytes: distance and length of slices;
    shift_bytes: from the start of a place to the slice; stride_bytes: size of a place;
    classes: slice i may only land in place p if i and p are equal modulo this; slack_bytes:
    room that reads into the last of several places need behind it.
    """

    descriptor: int
    offset_bytes: int
    slice_bytes: int
    shift_bytes: int
    stride_bytes: int
    bounce: bool
    alignment: Alignment
    classes: int = 1
    slack_bytes: int = 0

    def reads(self, indices: npt.NDArray[np.int64], places: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
        """Reads (dtype READ, tag = index) of slices `indices` into the places at these addresses."""
        start = self.offset_bytes + indices * self.slice_bytes
        step = self.alignment.offset_bytes
        front = start % step
        length = (front + self.slice_bytes + step - 1) // step * step
        reads = np.zeros(len(indices), READ)
        reads["fd"] = self.descriptor
        reads["tag"] = indices
        reads["offset"] = start - front
        reads["length_bytes"] = length
        reads["required_bytes"] = front + self.slice_bytes
        landing = places + np.uint64(self.shift_bytes)
        if self.bounce:
            reads["copy_dest"] = landing
            reads["skip_bytes"] = front
            reads["copy_bytes"] = self.slice_bytes
        else:
            reads["dest"] = landing - front.astype(np.uint64)
        return reads


def paged(alignment: Alignment, slice_bytes: int) -> Alignment:
    """The alignment for reads of whole file pages, where slices are so large that the padding does not matter."""
    if slice_bytes < _PADDED_BYTES:
        return alignment
    return Alignment(max(alignment.offset_bytes, PAGE_BYTES), alignment.memory_bytes)


def lay_out(
    descriptor: int, offset_bytes: int, slice_bytes: int, count: int, alignment: Alignment, *, max_classes: int = 1
) -> Slices:
    """The layout for `count` slices of slice_bytes, the first at offset_bytes, in at most max_classes classes."""
    step, fine = alignment.offset_bytes, alignment.memory_bytes
    front = offset_bytes % step
    classes = fine // math.gcd(fine, slice_bytes)
    if count == 1 or slice_bytes % step == 0:
        stride = _up(_up(front + slice_bytes, step), max(_PLACE_BYTES, fine))
        return Slices(descriptor, offset_bytes, slice_bytes, front, stride, False, alignment)
    if fine <= _FINE_BYTES and offset_bytes % fine == 0 and slice_bytes % fine == 0:
        stride = _up(slice_bytes + 2 * step, max(_PLACE_BYTES, fine))
        return Slices(descriptor, offset_bytes, slice_bytes, step, stride, False, alignment)
    if classes <= max_classes and step % fine == 0:
        # A read begins less than a step before its slice and ends less than a step behind it.
        shift, stride = step + offset_bytes % fine, slice_bytes + 2 * step
        return Slices(descriptor, offset_bytes, slice_bytes, shift, stride, False, alignment, classes, 2 * step)
    return Slices(descriptor, offset_bytes, slice_bytes, 0, _up(slice_bytes, _PLACE_BYTES), True, alignment)


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

    def layouts_for(alignment: Alignment, most: int) -> dict[int, Slices]:
        return {
            t.address: lay_out(t.descriptor, t.offset_bytes, t.slice_bytes, experts, alignment, max_classes=most)
            for t in tensors
        }

    def classes_of(layouts: dict[int, Slices]) -> int:
        return math.lcm(*(slices.classes for slices in layouts.values()))

    alignment = paged(alignment, min(t.slice_bytes for t in tensors))
    if alignment.offset_bytes >= PAGE_BYTES:
        layouts = layouts_for(Alignment(alignment.offset_bytes, max(alignment.memory_bytes, PAGE_BYTES)), _PAGE_CLASSES)
        classes = classes_of(layouts)
        direct = not any(slices.bounce for slices in layouts.values())
        if direct and (classes == 1 or (alike and enough(classes) and slots >= _CHOICE * classes)):
            return layouts, classes
    layouts = layouts_for(alignment, _CLASSES)
    classes = classes_of(layouts)
    return (layouts, classes) if classes == 1 or (alike and enough(classes)) else (layouts_for(alignment, 1), 1)


def _up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
