"""The model manager: creates, copies, removes and pulls models. It alone changes the registry, one change at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.models.catalogue import Entry
from hypura_daemon.models.gguf.splits import part_of
from hypura_daemon.models.modelfile import Modelfile
from hypura_daemon.models.names import full_name
from hypura_daemon.models.overrides import NO_OVERRIDES, Overrides
from hypura_daemon.models.own_files import Blobs
from hypura_daemon.models.pulling.download import USUAL_PATIENCE, Patience
from hypura_daemon.models.pulling.progress import PullEvent, Stage
from hypura_daemon.models.pulling.puller import Puller
from hypura_daemon.models.registry import Registry
from hypura_daemon.models.summaries import ModelSummary
from hypura_daemon.system.threads import FILES, TEMPLATES

Unload = Callable[[str], Awaitable[bool]]
CheckTemplate = Callable[[Overrides], None]


@dataclass(frozen=True, slots=True)
class Creation:
    """A model to create: from another model or an absolute path, or from an uploaded file's digest."""

    name: str
    base: str
    overrides: Overrides
    digest: str = ""


class ModelManager:
    """Changes the registry, one change at a time, and unloads the models that a change replaces or removes.

    `unload` is the supervisor's. `check_template` raises InvalidRequest for a chat template with syntax errors; it is
    called in a thread.
    """

    def __init__(
        self,
        registry: Registry,
        home: Path,
        unload: Unload,
        check_template: CheckTemplate,
        patience: Patience = USUAL_PATIENCE,
    ) -> None:
        home = home.resolve()
        self.blobs = Blobs(home)
        self._registry = registry
        self._puller = Puller(registry, home, patience)
        self._unload = unload
        self._check_template = check_template

    async def pull(self, name: str, *, insecure: bool = False) -> AsyncGenerator[PullEvent, None]:
        """Fetch a model; see Puller.pull. A loaded model whose file is replaced is unloaded."""
        before = await FILES(self._found, name, key=name)
        async with aclosing(self._puller.pull(name, insecure=insecure)) as events:
            async for event in events:
                yield event
        await self._unload_changed(before, name)

    async def create(self, creation: Creation) -> AsyncGenerator[PullEvent, None]:
        """Create a model, replacing the one of that name; a base that is not registered is pulled.

        Raises InvalidModelName, InvalidRequest, ModelNotFound, DownloadFailed, ModelFileError.
        """
        name, parent = full_name(creation.name), ""
        await TEMPLATES(self._check_template, creation.overrides, key=creation.overrides.template)
        if creation.digest:
            path, inherited = self.blobs.path(creation.digest), NO_OVERRIDES
            if not await FILES(path.is_file, key=name):
                raise InvalidRequest(f"the blob {creation.digest} does not exist; upload it first, to /api/blobs")
            yield Stage("parsing GGUF")
        elif creation.base.startswith("/"):
            path, inherited = Path(creation.base), NO_OVERRIDES
            yield Stage("parsing GGUF")
        else:
            if await FILES(self._found, creation.base, key=creation.base) is None:
                async with aclosing(self.pull(_base_name(creation.base))) as events:
                    async for event in events:
                        if event != Stage("success"):
                            yield event
            base = await FILES(self._registry.get, creation.base, key=creation.base)
            path, inherited, parent = base.path, base.overrides, base.name
            yield Stage(f"using {base.name}")
        yield Stage("writing manifest")
        await self._put(name, path, creation.overrides.over(inherited), parent)
        yield Stage("success")

    async def copy(self, source: str, destination: str) -> ModelSummary:
        """Give a model a second name. Raises InvalidModelName, ModelNotFound, ModelFileError."""
        name = full_name(destination)
        entry = await FILES(self._registry.get, source, key=source)
        if entry.name.lower() != name.lower():
            await self._put(name, entry.path, entry.overrides, entry.parent)
        return await FILES(self._registry.summary, name, key=name)

    async def remove(self, name: str) -> None:
        """Unload a model and remove it; see Registry.remove."""
        entry = await FILES(self._registry.removable, name, key=name)
        await self._unload(entry.name)
        async with self._puller.changing:
            await FILES(self._registry.remove, entry.name, key=name)

    async def _put(self, name: str, path: Path, overrides: Overrides, parent: str) -> None:
        before = await FILES(self._found, name, key=name)
        async with self._puller.changing:
            await FILES(self._registry.put, name, path, overrides, parent, key=name)
        await self._unload_changed(before, name)

    def _found(self, name: str) -> Entry | None:
        try:
            return self._registry.get(full_name(name)) if name else None
        except ModelNotFound:
            return None

    async def _unload_changed(self, before: Entry | None, name: str) -> None:
        """Unload the model if its name now stands for another file."""
        now = await FILES(self._found, name, key=name)
        if before is not None and now is not None and before.path != now.path:
            await self._unload(before.name)


def creation_of(name: str, modelfile: Modelfile) -> Creation:
    """The creation that a Modelfile describes. Raises InvalidRequest for a path relative to the client's folder."""
    base = modelfile.base
    if base.startswith((".", "~")) or (base.lower().endswith(".gguf") and not base.startswith("/")):
        raise InvalidRequest(
            f"FROM {base} is a relative path, which means nothing to the daemon; give the whole path, or a model's name"
        )
    return Creation(name, base, modelfile.overrides)


def creation_from_files(name: str, files: dict[str, str], overrides: Overrides) -> Creation:
    """The creation from uploaded files: `files` has digests by file names. Raises InvalidRequest."""
    if len(files) != 1:
        raise InvalidRequest(
            f"{len(files)} files were given; give the one GGUF file of a model, "
            "or register a split model in its place with: hypuractl add PATH"
        )
    [(file, digest)] = files.items()
    if file.lower().endswith((".safetensors", ".bin", ".pth", ".json")):
        raise InvalidRequest(f"{file} is not a GGUF file; convert the model with llama.cpp's convert_hf_to_gguf.py")
    if part_of(Path(file).name) is not None:
        raise InvalidRequest(f"{file} is a part of a split model; register it in its place with: hypuractl add PATH")
    return Creation(name, "", overrides, digest)


def _base_name(base: str) -> str:
    if base.startswith("/") or not base:
        raise InvalidRequest("neither from nor files was given; name what the model is created from")
    return base
