"""A trained PyTorch model out of its weights."""

from pathlib import Path

import torch

from tests.demo_model.model import DemoModel
from tests.demo_model.weights import load_weights


def load_model(folder: Path, device: torch.device) -> DemoModel:
    """The model, ready to answer. Raises OSError or ValueError when the folder holds none."""
    shape, weights = load_weights(folder)
    model = DemoModel(shape)
    model.load_state_dict({name: torch.from_numpy(value).float() for name, value in weights.items()})
    return model.to(device).eval()
