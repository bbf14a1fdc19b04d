"""Ollama's store: manifests/HOST/NAMESPACE/NAME/TAG names the blobs of a model, which are in blobs/sha256-…

Hypura's own downloads have the same layout.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypura_daemon.errors import InvalidModelName, InvalidRequest
from hypura_daemon.models.catalogue import Entry, Source
from hypura_daemon.models.names import ModelName, parse_name
from hypura_daemon.models.overrides import MAX_TEXT_CHARACTERS, Overrides, overrides_from, parameter_pairs, style_of
from hypura_daemon.models.stores.folder import LeftOut
from hypura_daemon.models.stores.scanning import FolderScanner, Stamp, StoreScan, stamp_of

MAX_MANIFEST_BYTES = 4 << 20
MAX_LAYERS = 1024
LAYER = "application/vnd.ollama.image."
DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})", re.ASCII)
"""A sha256 as manifests write it, with a colon, and as the names of blobs do, with a dash."""
_BARE_TEMPLATES = ("{{ .Prompt }}", "{{.Prompt}}")
"""What Ollama writes if it knows no template: the file's own is then used."""


class BadManifest(ValueError):
    """A manifest that does not describe a model hypura can run; the message says why."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob of a model: kind as in application/vnd.ollama.image.KIND, digest in 64 hex digits."""

    kind: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The blobs of a model."""

    layers: tuple[Layer, ...]
    config: Layer | None

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """All blobs, including the config."""
        return (*self.layers, self.config) if self.config else self.layers

    def model(self) -> Layer:
        """The layer with the weights. Raises BadManifest unless there is exactly one, without adapters."""
        if any(layer.kind == "adapter" for layer in self.layers):
            raise BadManifest(
                "it has a LoRA adapter, which hypura does not apply; merge it into the model, or use the model that it "
                "was created from"
            )
        models = [layer for layer in self.layers if layer.kind == "model"]
        if not models:
            raise BadManifest(
                "it has no weights in the GGUF format: it runs in Ollama's cloud, or has another format; pull "
                "another version of it"
            )
        if len(models) != 1:
            raise BadManifest(f"it has {len(models)} layers of weights in the GGUF format; one is needed")
        return models[0]


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in JSON. Raises BadManifest."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"it is not valid JSON: {error}") from error
    layers = data.get("layers") if isinstance(data, dict) else None
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise BadManifest("it has no list of layers")
    config = data.get("config")
    return Manifest(
        tuple(_layer(item) for item in layers),
        _layer(config) if isinstance(config, dict) and config.get("digest") else None,
    )


def _layer(item: Any) -> Layer:
    if not isinstance(item, dict):
        raise BadManifest("a layer is not an object")
    kind, digest, size_bytes = item.get("mediaType"), item.get("digest"), item.get("size", 0)
    match = DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise BadManifest(f"the digest {str(digest)[:80]!r} is not a sha256 digest")
    if isinstance(size_bytes, bool) or not isinstance(size_bytes, int) or not 0 <= size_bytes < 1 << 50:
        raise BadManifest(f"the size {str(size_bytes)[:40]!r} is not possible")
    return Layer(str(kind).removeprefix(LAYER), match[1], size_bytes)


class OllamaStore:
    """A folder `root` with Ollama's layout of manifests and blobs."""

    def __init__(self, root: Path, source: Source = Source.OLLAMA) -> None:
        self.source = source
        self._root = root
        self._known: dict[Path, tuple[Stamp, Entry | None, str, Path | None]] = {}

    def scan(self) -> StoreScan:
        """The models, by their manifests; unchanged manifests are not read again."""
        scanner, blobs = FolderScanner(self._root / "manifests"), FolderScanner(self._root / "blobs")
        entries, kept = [], {}
        for path, name in self._manifests(scanner):
            stamp = scanner.stamp(path)
            before = self._known.get(path)
            if before is not None and stamp is not None and before[0] == stamp:
                found = before
            else:
                found = (stamp, *self._read(path, name, scanner, blobs))
            _, entry, reason, blob = found
            if blob is not None and scanner.stamp(blob) is None:
                entry, reason = None, f"{path}: {blob} does not exist"
            if entry is not None:
                entries.append(entry)
                kept[path] = found
            elif reason:
                scanner.left_out.append(reason)
                scanner.unusable[str(name)] = LeftOut(str(path), reason)
        self._known = kept
        scanner.left_out.extend(blobs.left_out)
        return scanner.done(entries)

    def _manifests(self, scanner: FolderScanner) -> Iterator[tuple[Path, ModelName]]:
        """Every manifest with the name that its path stands for."""
        folders = [scanner.root]
        for _ in range(3):
            folders = [folder / name for folder in folders for name in scanner.names(folder)]
        for folder in folders:
            for tag in scanner.names(folder):
                path = folder / tag
                text = "/".join(path.relative_to(scanner.root).parts[:3]) + f":{tag}"
                try:
                    yield path, parse_name(text)
                except InvalidModelName as error:
                    scanner.left_out.append(f"{path}: {error}")

    def _read(
        self, path: Path, name: ModelName, scanner: FolderScanner, blobs: FolderScanner
    ) -> tuple[Entry | None, str, Path | None]:
        """The entry, or the reason why there is none, and the blob that both depend on."""
        if not scanner.inside(path):
            return None, "", None
        try:
            manifest = parse_manifest(_content(path, MAX_MANIFEST_BYTES))
            blob = blob_path(self._root, manifest.model().digest)
            if stamp_of(blob) is None:
                return None, f"{path}: {blob} does not exist", blob
            if not blobs.inside(blob):
                return None, "", blob
            overrides = self._overrides(manifest, blobs)
        except (InvalidRequest, ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return None, f"{path}: {reason}", None
        return Entry(str(name), blob, overrides, self.source), "", blob

    def _overrides(self, manifest: Manifest, blobs: FolderScanner) -> Overrides:
        texts: dict[str, list[str]] = {}
        for layer in manifest.layers:
            if layer.kind in ("template", "prompt", "system", "params", "messages", "license"):
                texts.setdefault(layer.kind, []).append(self._text(layer, blobs))
        template = next(iter(texts.get("template") or texts.get("prompt") or [""]))
        if template.strip() in _BARE_TEMPLATES or self._has_renderer(manifest, blobs):
            template = ""
        messages = json.loads(texts["messages"][0]) if "messages" in texts else []
        return overrides_from(
            {
                "template": template,
                "template_style": style_of(template) and "go",
                "system": "".join(texts.get("system", [])),
                "parameters": parameter_pairs(json.loads(texts["params"][0])) if "params" in texts else [],
                "messages": [(item.get("role", ""), item.get("content", "")) for item in _objects(messages)],
                "license": "\n".join(texts.get("license", [])),
            }
        )

    def _has_renderer(self, manifest: Manifest, blobs: FolderScanner) -> bool:
        """Whether Ollama renders the prompts with code of its own, so that the template is not the real one."""
        if manifest.config is None:
            return False
        try:
            config = json.loads(self._text(manifest.config, blobs))
        except (OSError, ValueError):
            return False
        return isinstance(config, dict) and bool(config.get("renderer"))

    def _text(self, layer: Layer, blobs: FolderScanner) -> str:
        path = blob_path(self._root, layer.digest)
        if not blobs.inside(path):
            raise BadManifest(f"its layer {layer.kind} leads out of {self._root}")
        return _content(path, MAX_TEXT_CHARACTERS).decode("utf-8", "replace")


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadManifest("its messages are not a list of objects")
    return value


def blob_path(root: Path, digest: str) -> Path:
    """The path of a blob; older versions of Ollama wrote sha256:… instead of sha256-…"""
    path = root / "blobs" / f"sha256-{digest}"
    old = path.with_name(f"sha256:{digest}")
    return old if not path.exists() and old.exists() else path


def manifest_path(root: Path, name: ModelName) -> Path:
    """The path of a model's manifest."""
    host, namespace = name.host or "registry.ollama.ai", name.namespace or "library"
    return root / "manifests" / host / namespace / name.name / name.tag


def _content(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise BadManifest(f"{path.name} has more than {limit_bytes} bytes")
    return content
