"""A model as its files describe it: its parts joined, its tensors with their roles, its numbers checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from hypura_daemon.errors import ModelFileError, NoLanguageModel, UnsupportedModel
from hypura_daemon.models.gguf.architectures import DIFFUSERS, ENCODERS, KNOWN, NO_LANGUAGE_MODELS
from hypura_daemon.models.gguf.ggml_types import FILE_TYPES
from hypura_daemon.models.gguf.header import MAX_TENSORS, Header, MetadataValue, TensorInfo, read_header
from hypura_daemon.models.gguf.hyperparameters import Hyperparameters, Pooling, read_hyperparameters
from hypura_daemon.models.gguf.splits import check_parts, part_paths
from hypura_daemon.models.gguf.tensor_roles import Role, is_single_expert, layer_of, role_of
from hypura_daemon.models.overrides import TemplateStyle

_LLAMA_FTYPE_GUESSED = 1024
_TEMPLATE = "tokenizer.chat_template"
_THINKING_MARKS = ("<think>", "enable_thinking", "reasoning")
_PREDICTION_LAYERS = "layers that predict further tokens (MTP), which work only beside the model they were made for"
_INFILL_KEYS = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model, with the size, time and inode by which changes are noticed."""

    path: Path
    size_bytes: int
    modified_nanoseconds: int
    inode: int

    def has_changed(self) -> bool:
        """Whether the file is missing, or differs from what was read; asks the file system, so call it in a thread."""
        try:
            status = self.path.stat()
        except OSError:
            return True
        found = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found != (self.size_bytes, self.modified_nanoseconds, self.inode)


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """One tensor: shape has the fastest dimension first, layer is -1 outside of blocks, file counts from 0."""

    name: str
    type: str
    shape: tuple[int, ...]
    role: Role
    layer: int
    file: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Model:
    """A readable model; the registry sets its name, its digest, and capabilities that are overridden."""

    name: str
    files: tuple[ModelFile, ...]
    architecture: str
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[ModelTensor, ...]
    hyperparameters: Hyperparameters
    quantization: str
    capabilities: tuple[str, ...]
    digest: str = ""

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def parameters(self) -> int:
        """The number of weights, including norms and biases."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def loaded_tensors(self) -> tuple[ModelTensor, ...]:
        """The tensors that llama.cpp loads: without layers that predict further tokens (nextn_predict_layers)."""
        return tuple(tensor for tensor in self.tensors if tensor.layer < self.hyperparameters.computed_block_count)

    @property
    def reads_whole_texts(self) -> bool:
        """Whether tokens see those after them, so that a text must be computed in one pass."""
        return self.architecture in ENCODERS or not self.hyperparameters.causal

    @property
    def generates(self) -> bool:
        """Whether it can continue a text."""
        return "completion" in self.capabilities

    @property
    def chat_template(self) -> str:
        """The chat template; empty if there is none."""
        template = self.metadata.get(_TEMPLATE)
        return template if isinstance(template, str) else ""


def templated(capabilities: tuple[str, ...], template: str, style: TemplateStyle) -> tuple[str, ...]:
    """The capabilities with another chat template than the file's: tools and thinking depend on the template.

    "insert" stays if the file has tokens for it, and is added by a Go template that uses .Suffix.
    """
    if not template or "completion" not in capabilities:
        return capabilities
    if style == "go":
        marks = {"tools": (".Tools",), "thinking": (".Think", ".IsThinkSet")}
    else:
        marks = {"tools": ("tools",), "thinking": _THINKING_MARKS}
    had = [name for name in capabilities if name not in marks]
    if style == "go" and ".Suffix" in template and "insert" not in had:
        had.append("insert")
    return (*had, *(name for name, texts in marks.items() if any(text in template for text in texts)))


def open_model(path: Path, name: str) -> Model:
    """Read a model from any of its files.

    Raises ModelFileError for files that are damaged or missing, UnsupportedModel for intact ones that cannot be run.
    """
    headers: list[Header] = []
    for number, part in enumerate(part_paths(path)):
        headers.append(read_header(part, number))
        if sum(len(header.tensors) for header in headers) > MAX_TENSORS:
            raise ModelFileError(f"{path} has more than {MAX_TENSORS} tensors, more than hypura reads")
    check_parts(headers)
    metadata = headers[0].metadata
    architecture = _architecture(path, metadata)
    infos = [info for header in headers for info in header.tensors]
    _check_tensors(path, infos)
    hyperparameters = read_hyperparameters(path, architecture, metadata, infos)
    tensors = tuple(
        ModelTensor(
            info.name,
            info.type,
            info.shape,
            role_of(info.name),
            layer_of(info.name),
            info.file,
            info.offset_bytes,
            info.size_bytes,
        )
        for info in infos
    )
    _check_blocks(path, tensors, hyperparameters)
    if not any(tensor.layer < hyperparameters.computed_block_count for tensor in tensors if tensor.layer >= 0):
        raise NoLanguageModel(f"{path} holds only {_PREDICTION_LAYERS}; give the file of the whole model")
    return Model(
        name=name,
        files=tuple(ModelFile(h.path, h.file_size_bytes, h.modified_nanoseconds, h.inode) for h in headers),
        architecture=architecture,
        metadata=metadata,
        tensors=tensors,
        hyperparameters=hyperparameters,
        quantization=_quantization(metadata, tensors),
        capabilities=_capabilities(architecture, metadata, hyperparameters),
    )


def _architecture(path: Path, metadata: Mapping[str, MetadataValue]) -> str:
    kind = metadata.get("general.type", "model")
    if kind == "adapter":
        raise NoLanguageModel(
            f"{path} is an adapter (LoRA), not a model; hypura runs whole models, merge it into its model"
        )
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise ModelFileError(f"{path} has no general.architecture; convert the model again")
    if kind == "mmproj" or architecture in NO_LANGUAGE_MODELS:
        what = NO_LANGUAGE_MODELS.get(architecture, NO_LANGUAGE_MODELS["clip"])
        raise NoLanguageModel(f"{path} is {what}; give the file of a language model")
    if architecture not in KNOWN:
        raise UnsupportedModel(
            f"{path} has the architecture {architecture[:80]!r}, which this version's llama.cpp does not know; "
            "update hypura or use another model"
        )
    return architecture


def _check_tensors(path: Path, infos: Sequence[TensorInfo]) -> None:
    if not infos:
        raise UnsupportedModel(f"{path} has no tensors, only metadata or a vocabulary; give the file with the weights")
    twice = [name for name, count in Counter(info.name for info in infos).items() if count > 1]
    if twice:
        raise ModelFileError(f"{path} has tensor {twice[0]!r} in two of its parts; download them again")
    if any(is_single_expert(info.name) for info in infos):
        raise UnsupportedModel(
            f"{path} has one tensor per expert, a layout of 2023 that llama.cpp no longer loads; use a newer conversion"
        )


def _check_blocks(path: Path, tensors: Sequence[ModelTensor], hyperparameters: Hyperparameters) -> None:
    """Check what the planner relies on: layers within block_count, and experts as the last dimension."""
    for tensor in tensors:
        if tensor.layer >= hyperparameters.block_count:
            raise ModelFileError(
                f"{path}: tensor {tensor.name!r} is outside the {hyperparameters.block_count} blocks "
                "that the metadata states; convert the model again"
            )
        if tensor.role is not Role.ROUTED_EXPERT:
            continue
        if len(tensor.shape) != 3 or tensor.shape[2] != hyperparameters.expert_count:
            raise ModelFileError(
                f"{path}: tensor {tensor.name!r} has the shape {tensor.shape}, which does not fit the "
                f"{hyperparameters.expert_count} experts that the metadata states; convert the model again"
            )


def _quantization(metadata: Mapping[str, MetadataValue], tensors: Sequence[ModelTensor]) -> str:
    file_type = metadata.get("general.file_type")
    if isinstance(file_type, int) and (label := FILE_TYPES.get(file_type & ~_LLAMA_FTYPE_GUESSED)):
        return label
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.type] += tensor.size_bytes
    return sizes.most_common(1)[0][0]


def _capabilities(
    architecture: str, metadata: Mapping[str, MetadataValue], hyperparameters: Hyperparameters
) -> tuple[str, ...]:
    if architecture in DIFFUSERS or hyperparameters.pooling_type is Pooling.RANK:
        return ()
    if architecture in ENCODERS or hyperparameters.pooling_type is not Pooling.NONE or not hyperparameters.causal:
        return ("embedding",)
    found = ["completion"]
    templates = [text for key, text in metadata.items() if key.startswith(_TEMPLATE) and isinstance(text, str)]
    if any("tools" in text for text in templates):
        found.append("tools")
    if any(mark in text for text in templates for mark in _THINKING_MARKS):
        found.append("thinking")
    if any(key in metadata for key in _INFILL_KEYS):
        found.append("insert")
    return tuple(found)
