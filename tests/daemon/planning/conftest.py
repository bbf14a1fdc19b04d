"""Real headers of tiny models, whose numbers a test may change."""

from __future__ import annotations

import pytest

from hypura_daemon.models.model import Model, open_model
from tests.daemon.planning.models import Models
from tests.models.writer import write_synthetic_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The tiny models, read from real files."""
    folder = tmp_path_factory.mktemp("models")
    models = Models()
    for name in ("tiny-moe", "tiny-dense"):
        write_synthetic_model(name, folder / f"{name}.gguf")
        models[name] = open_model(folder / f"{name}.gguf", name)
    return models
