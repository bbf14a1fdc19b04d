"""A line in the list of models: what a model is, or what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

from hypura_daemon.models.model import Model


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """See ModelSummary in control.proto; `error` is empty for a usable model."""

    name: str
    path: Path
    size_bytes: int = 0
    architecture: str = ""
    quantization: str = ""
    parameters: int = 0
    experts: int = 0
    error: str = ""
    modified_seconds: float = 0.0
    digest: str = ""
    parent: str = ""
    capabilities: tuple[str, ...] = ()
    context_length: int = 0
    embedding_length: int = 0


def summarize(model: Model) -> ModelSummary:
    """The summary of a model that could be read."""
    first = model.files[0]
    return ModelSummary(
        name=model.name,
        path=first.path,
        size_bytes=model.size_bytes,
        architecture=model.architecture,
        quantization=model.quantization,
        parameters=model.parameters,
        experts=model.hyperparameters.expert_count,
        modified_seconds=first.modified_nanoseconds / 1e9,
        digest=model.digest,
        capabilities=model.capabilities,
        context_length=model.hyperparameters.context_length,
        embedding_length=model.hyperparameters.embedding_length,
    )


def summarize_failure(name: str, path: Path, error: str) -> ModelSummary:
    """The summary of a model that could not; size and time are told where the system knows them."""
    try:
        status = path.stat()
    except OSError:
        return ModelSummary(name, path, error=error)
    return ModelSummary(name, path, size_bytes=status.st_size, error=error, modified_seconds=status.st_mtime)
