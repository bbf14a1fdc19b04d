"""Models as hypura.v1 messages."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from hypura.v1 import control_pb2, placement_pb2
from hypura_daemon.models.gguf.header import LongArray
from hypura_daemon.models.model import Model, ModelFile
from hypura_daemon.models.modelfile import modelfile_text
from hypura_daemon.models.overrides import NO_OVERRIDES, Overrides, parameters_text
from hypura_daemon.models.pulling.progress import PullEvent, Stage
from hypura_daemon.models.summaries import ModelSummary, summarize


def model_summary(summary: ModelSummary) -> control_pb2.ModelSummary:
    """A line of the list of models."""
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
        digest=summary.digest,
    )


def pull_response(event: PullEvent) -> control_pb2.PullModelResponse:
    """The progress of a pull."""
    if isinstance(event, Stage):
        return control_pb2.PullModelResponse(stage=event.text)
    return control_pb2.PullModelResponse(
        transfer=control_pb2.TransferProgress(
            file=event.file, total_bytes=event.total_bytes, completed_bytes=event.completed_bytes
        )
    )


def file_to_proto(file: ModelFile) -> placement_pb2.ModelFile:
    """The message of one of a model's files."""
    return placement_pb2.ModelFile(
        path=str(file.path),
        size_bytes=file.size_bytes,
        modified_nanoseconds=file.modified_nanoseconds,
        inode=file.inode,
    )


def shown_model(
    model: Model, overrides: Overrides = NO_OVERRIDES, adaptations: Sequence[str] = ()
) -> control_pb2.ShowModelResponse:
    """The whole description of a model, with its overrides in effect."""
    metadata = {key: _json(value) for key, value in model.metadata.items() if not isinstance(value, LongArray)}
    return control_pb2.ShowModelResponse(
        model=model_summary(summarize(model)),
        metadata_json=json.dumps(metadata, allow_nan=False),
        chat_template=overrides.template or model.chat_template,
        parameters=parameters_text(overrides.parameters),
        system=overrides.system,
        license=overrides.license or _license(model),
        modelfile=modelfile_text(model.name, str(model.files[0].path), overrides),
        capabilities=model.capabilities,
        adaptations=adaptations,
        context_tokens=model.hyperparameters.context_length,
        files=[file_to_proto(file) for file in model.files],
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


def _license(model: Model) -> str:
    """The licence that the file itself names."""
    named = model.metadata.get("general.license")
    return named if isinstance(named, str) else ""


def _json(value: object) -> object:
    """The value for JSON; infinities and NaN become text."""
    if isinstance(value, tuple):
        return [_json(element) for element in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
