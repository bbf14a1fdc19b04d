"""Untrained weights of a tiny model, and their GGUFs."""

from pathlib import Path

import llama_cpp  # noqa: F401  Before numpy: llama.cpp's C++ library has to be loaded first.

# isort: split
import numpy as np
import pytest

from tests.demo_model.export import quantise, write_gguf
from tests.demo_model.shape import Shape
from tests.demo_model.weights import Weights

TINY = Shape(layers=2, experts=4, experts_used=2)


def random_weights(shape: Shape, seed: int = 1) -> Weights:
    """Of a size that gives logits of order 1."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(
            1.0 if len(dimensions) == 1 else 0.0, 0.1 if len(dimensions) == 1 else 0.06, dimensions
        ).astype(np.float32)
        for name, dimensions in shape.parameter_shapes().items()
    }


@pytest.fixture(scope="session")
def tiny_weights() -> Weights:
    return random_weights(TINY)


@pytest.fixture(scope="session")
def tiny_f32(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Weights) -> Path:
    path = tmp_path_factory.mktemp("demo") / "tiny-f32.gguf"
    write_gguf(path, TINY, tiny_weights, np.float32)
    return path


@pytest.fixture(scope="session")
def tiny_quantised(tmp_path_factory: pytest.TempPathFactory, tiny_f32: Path) -> Path:
    path = tmp_path_factory.mktemp("demo") / "tiny.gguf"
    quantise(tiny_f32, path)
    return path
