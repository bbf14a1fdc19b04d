"""Models as hypura.v1 messages."""

from __future__ import annotations

import json
import math

from hypura.v1 import control_pb2, placement_pb2
from hypura_daemon.models.gguf import LongArray
from hypura_daemon.models.model import Model
from hypura_daemon.models.summary import ModelSummary, summarize


def model_summary(summary: ModelSummary) -> control_pb2.ModelSummary:
    """A line of the list; a model that cannot be read has its error."""
    return control_pb2.ModelSummary(
        name=summary.name,
        path=str(summary.path),
        size_bytes=summary.size_bytes,
        architecture=summary.architecture,
        quantization=summary.quantization,
        parameters=summary.parameters,
        experts=summary.experts,
        error=summary.error,
        modified_seconds=summary.modified_seconds,
    )


def shown_model(model: Model) -> control_pb2.ShowModelResponse:
    """The whole description."""
    metadata = {key: _json(value) for key, value in model.metadata.items() if not isinstance(value, LongArray)}
    return control_pb2.ShowModelResponse(
        model=model_summary(summarize(model)),
        metadata_json=json.dumps(metadata, allow_nan=False),
        chat_template=model.chat_template,
        capabilities=model.capabilities,
        context_tokens=model.hyperparameters.context_length,
        files=[
            placement_pb2.ModelFile(
                path=str(f.path), size_bytes=f.size_bytes, modified_nanoseconds=f.modified_nanoseconds, inode=f.inode
            )
            for f in model.files
        ],
        tensors=[
            placement_pb2.TensorPlacement(
                name=t.name,
                type=t.type,
                shape=t.shape,
                role=f"TENSOR_ROLE_{t.role.name}",
                layer=t.layer,
                extent=placement_pb2.Extent(file=t.file, offset_bytes=t.offset_bytes, length_bytes=t.size_bytes),
            )
            for t in model.tensors
        ],
    )


def _json(value: object) -> object:
    """The value; what JSON has no number for becomes text."""
    if isinstance(value, tuple):
        return [_json(element) for element in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
