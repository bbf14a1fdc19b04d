"""A training's state on disk, replaced in one step so that a killed training never leaves half a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(slots=True)
class Progress:
    """How far a training is. seconds is the time that it has trained, over all its runs."""

    step: int = 0
    seconds: float = 0.0
    runs: int = 0


def save(folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], progress: Progress) -> None:
    part = folder / "checkpoint.part"
    state = {"step": progress.step, "seconds": progress.seconds, "runs": progress.runs}
    torch.save(
        {"model": model.state_dict(), "optimizers": [item.state_dict() for item in optimizers], "progress": state}, part
    )
    part.replace(folder / "checkpoint.pt")


def resume(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], device: torch.device
) -> Progress:
    """Takes up the checkpoint where there is one. Raises RuntimeError when it is of another shape."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return Progress()
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    return Progress(**state["progress"])
