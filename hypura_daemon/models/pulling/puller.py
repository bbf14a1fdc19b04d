"""Pulls models: one download for all requests of the same model, and no model is listed before it is complete.

pull(name) ──► Report ◄── one task per model: manifest, blobs one after the other, manifest in place
                 │
                 └──► every follower; when the last one leaves, the task is cancelled
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from hypura_daemon.errors import DownloadFailed, InvalidModelName, InvalidRequest, ServerBusy
from hypura_daemon.models.names import HUGGING_FACE, ModelName, parse_name
from hypura_daemon.models.own_files import OwnFiles, remove_empty
from hypura_daemon.models.pulling.download import (
    PARTIAL,
    USUAL_PATIENCE,
    Download,
    Patience,
    Remote,
    check_room,
    in_thread,
    web_client,
)
from hypura_daemon.models.pulling.ollama_registry import RegistryHost
from hypura_daemon.models.pulling.progress import PullEvent, Report
from hypura_daemon.models.registry import Registry
from hypura_daemon.models.stores.ollama import Layer, blob_path

MAX_PULLS = 16

_log = structlog.get_logger()


@dataclass(slots=True)
class _Pull:
    """The pull of one model."""

    report: Report
    task: "asyncio.Task[None]"
    followers: int = field(default=0)


class Puller:
    """Fetches models into the home folder."""

    def __init__(self, registry: Registry, home: Path, patience: Patience = USUAL_PATIENCE) -> None:
        self._registry = registry
        self._home = home.resolve()
        self._own_files = OwnFiles(self._home)
        self._patience = patience
        self._pulls: dict[str, _Pull] = {}
        self._files: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self.changing = asyncio.Lock()
        """Held while the registry changes: files of complete models are put in place or deleted."""

    async def pull(self, name: str, *, insecure: bool = False) -> AsyncGenerator[PullEvent, None]:
        """Fetch a model, or follow the pull of it that is already running, to its end.

        Raises InvalidModelName, InvalidRequest, ModelNotFound, DownloadFailed, ServerBusy. Closing this generator
        cancels the download, unless others follow it; what was received is kept for the next pull.
        """
        wanted = parse_name(name)
        if name.lower().startswith("http://") and not insecure:
            raise InvalidRequest(f"{name} would be fetched without TLS; allow that with insecure")
        key = str(wanted).lower()
        pull = await self._joined(key, wanted, insecure=insecure)
        pull.followers += 1
        try:
            async with contextlib.aclosing(pull.report.follow()) as events:
                async for event in events:
                    yield event
            await asyncio.shield(pull.task)
        finally:
            pull.followers -= 1
            if not pull.followers:
                pull.task.cancel()
                await asyncio.gather(pull.task, return_exceptions=True)
                if self._pulls.get(key) is pull:
                    del self._pulls[key]

    async def _joined(self, key: str, wanted: ModelName, *, insecure: bool) -> _Pull:
        """The running pull of this model, or a new one; waits for a pull that is being cancelled."""
        while (pull := self._pulls.get(key)) is not None:
            if not pull.task.done() and not pull.task.cancelling():
                return pull
            await asyncio.wait([pull.task])
            if self._pulls.get(key) is pull:
                del self._pulls[key]
        if len(self._pulls) >= MAX_PULLS:
            raise ServerBusy(f"{MAX_PULLS} models are being pulled; wait until one is done")
        report = Report()
        work = self._from_hub if wanted.host == HUGGING_FACE else self._from_registry
        task = asyncio.ensure_future(self._reported(report, work(wanted, report, insecure)))
        self._pulls[key] = pull = _Pull(report, task)
        return pull

    async def _reported(self, report: Report, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            report.close()

    async def _from_registry(self, name: ModelName, report: Report, insecure: bool) -> None:
        if name.namespace.lower() == HUGGING_FACE:
            raise InvalidModelName(f"{name} lacks a part; name a repository as hf.co/OWNER/REPOSITORY")
        report.stage("pulling manifest")
        async with web_client(self._patience) as client:
            host = RegistryHost(client, name, insecure=insecure)
            content, manifest = await host.manifest()
            layers = list(dict.fromkeys(manifest.blobs))
            await in_thread(check_room, self._home, sum(self._missing_bytes(layer) for layer in layers))
            for layer in layers:
                path = blob_path(self._home, layer.digest)
                await self._fetch(host.blob(layer), path, report, f"sha256:{layer.digest}")
        report.stage("verifying sha256 digest")
        async with self.changing:
            lost = [layer for layer in layers if not blob_path(self._home, layer.digest).exists()]
            if lost:
                raise DownloadFailed(f"{name} was deleted while it was pulled; pull it again")
            report.stage("writing manifest")
            weights = blob_path(self._home, manifest.model().digest)
            paths = [blob_path(self._home, layer.digest) for layer in layers]
            await in_thread(self._registry.register_pulled, name, content, weights, paths)
        report.stage("success")

    async def _from_hub(self, name: ModelName, report: Report, insecure: bool) -> None:
        from hypura_daemon.models.pulling.hub import hub_model, remote_file

        report.stage("pulling manifest")
        model = await in_thread(hub_model, name)
        folder = self._own_files.repositories / name.namespace / name.name
        targets = [folder / file.path for file in model.files]
        missing = [file.size_bytes for file, path in zip(model.files, targets, strict=True) if not path.exists()]
        await in_thread(check_room, self._home, sum(missing))
        try:
            async with web_client(self._patience) as client:
                for file, target in zip(model.files, targets, strict=True):
                    if not file.size_bytes:
                        raise DownloadFailed(f"{name}: {file.path} is empty; name another file")
                    remote = remote_file(client, file, model.headers)
                    await self._fetch(
                        remote, target, report, f"sha256:{file.sha256}" if file.sha256 else str(file.path)
                    )
        finally:
            await in_thread(remove_empty, folder, self._home)
        report.stage("verifying sha256 digest")
        async with self.changing:
            report.stage("writing manifest")
            await in_thread(self._registry.register_pulled_file, name, targets[0])
        report.stage("success")

    async def _fetch(self, remote: Remote, target: Path, report: Report, label: str) -> None:
        """Fetch one file, unless it exists. A file that two models share is fetched once."""
        lock = self._files.setdefault(target, asyncio.Lock())
        async with lock:
            if await in_thread(_is_whole, target, remote.size_bytes):
                report.transfer(label, remote.size_bytes, remote.size_bytes)
                return

            def report_progress(done_bytes: int) -> None:
                report.transfer(label, remote.size_bytes, done_bytes)

            _log.info("fetching", file=label, size_bytes=remote.size_bytes)
            await Download(remote, target, self._patience, report_progress).run()

    def _missing_bytes(self, layer: Layer) -> int:
        path = blob_path(self._home, layer.digest)
        if path.exists():
            return 0
        partial = path.with_name(path.name + PARTIAL)
        return layer.size_bytes - (partial.stat().st_size if partial.exists() else 0)


def _is_whole(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False
