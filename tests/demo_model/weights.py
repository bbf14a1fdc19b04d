"""A trained model's weights as a folder: shape.json and weights.NN.npz, none larger than 15 MB."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.demo_model.shape import Shape

Array = npt.NDArray[np.floating]
Weights = Mapping[str, Array]
_PART_BYTES = 15_000_000


def save_weights(folder: Path, shape: Shape, weights: Weights) -> list[Path]:
    """Matrices as 16 bits, the rest (norms, routers) as 32. Parts of an earlier save go."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("weights.*.npz"):
        old.unlink()
    shape.save(folder / "shape.json")
    parts: list[dict[str, Array]] = [{}]
    room = _PART_BYTES
    for name, value in weights.items():
        whole = value.ndim == 1 or name.endswith("router")
        kept: Array = value.astype(np.float32) if whole else value.astype(np.float16)
        if kept.nbytes > room:
            parts.append({})
            room = _PART_BYTES
        parts[-1][name] = kept
        room -= kept.nbytes
    paths = [folder / f"weights.{number:02}.npz" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **part)
    return paths


def load_weights(folder: Path) -> tuple[Shape, dict[str, Array]]:
    """Raises OSError or ValueError when the folder does not hold what save_weights writes."""
    shape = Shape.load(folder / "shape.json")
    weights: dict[str, Array] = {}
    for path in sorted(folder.glob("weights.*.npz")):
        with np.load(path) as part:
            weights.update({name: part[name] for name in part.files})
    found = {name: value.shape for name, value in weights.items()}
    if found != shape.parameter_shapes():
        raise ValueError(
            f"{folder} holds {len(found)} parameters that do not make up its shape.json; run the training again"
        )
    return shape, weights
