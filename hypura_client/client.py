"""AsyncClient: the daemon's calls, for asyncio.

sync.py is generated from this file by `make protos`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client import calls
from hypura_client.channel import AsyncChannel, AsyncStream


class AsyncClient:
    """The daemon's calls, for asyncio; used in one event loop, best with `async with`.

    where is the control socket's path or a gRPC address. timeout_seconds, if given, is the
    deadline of every call and the longest pause between two messages of every stream but watch.
    All methods raise the errors of errors.py and return the messages of hypura.v1.
    """

    def __init__(self, where: Path | str, *, timeout_seconds: float | None = None) -> None:
        self._channel = AsyncChannel(where, timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls that still run are cancelled."""
        await self._channel.close()

    async def profile(self, model: str = "", *, refresh: bool = False) -> control.ProfileResponse:
        """The machine, and the drive of a registered model or absolute path."""
        return await self._channel.unary(calls.profile(model, refresh))

    async def models(self) -> control.ListModelsResponse:
        """The registered models."""
        return await self._channel.unary(calls.models())

    async def add(self, path: Path | str, name: str = "", *, list_only: bool = False) -> control.AddModelResponse:
        """Registers a GGUF file or a folder of them; list_only: only lists what it would register."""
        return await self._channel.unary(calls.add(str(path), name, list_only))

    async def remove(self, name: str) -> control.RemoveModelResponse:
        """Forgets a model."""
        return await self._channel.unary(calls.remove(name))

    async def copy(self, source: str, destination: str) -> control.CopyModelResponse:
        """Gives a model a second name."""
        return await self._channel.unary(calls.copy(source, destination))

    async def create(self, name: str, modelfile: str) -> control.CreateModelResponse:
        """Makes a model out of the text of a Modelfile."""
        return await self._channel.unary(calls.create(name, modelfile))

    def pull_events(self, name: str, *, insecure: bool = False) -> AsyncStream[control.PullModelResponse]:
        """Downloads a model and reports progress; the last message has model set."""
        return self._channel.stream(calls.pull(name, insecure))

    async def pull(self, name: str, *, insecure: bool = False) -> control.ModelSummary:
        """Downloads a model and returns once it is registered."""
        last = None
        async with self.pull_events(name, insecure=insecure) as events:
            async for event in events:
                last = event
        return calls.pulled_model(last)

    async def show(self, name: str) -> control.ShowModelResponse:
        """Describes a model."""
        return await self._channel.unary(calls.show(name))

    async def plan(
        self,
        model: str,
        options: control.LoadOptions | None = None,
        *,
        drive_bytes_per_second: float = 0.0,
        beyond_budget: bool = False,
    ) -> control.PlanResponse:
        """How a model would be loaded. drive_bytes_per_second: estimate for a drive of this bandwidth;
        beyond_budget: for a process outside the daemon, which the daemon's memory budget does not limit."""
        return await self._channel.unary(calls.plan(model, options, drive_bytes_per_second, beyond_budget))

    async def show_tuning(self, model: str) -> control.ShowTuningResponse:
        """What tuning found for a model."""
        return await self._channel.unary(calls.show_tuning(model))

    async def keep_tuning(self, model: str, tuning: control.Tuning) -> control.KeepTuningResponse:
        """Keeps what tuning found for a mode of a model."""
        return await self._channel.unary(calls.keep_tuning(model, tuning))

    async def forget_tuning(self, model: str) -> control.ForgetTuningResponse:
        """Forgets what tuning found for a model."""
        return await self._channel.unary(calls.forget_tuning(model))

    def load_events(self, model: str, options: control.LoadOptions | None = None) -> AsyncStream[control.LoadResponse]:
        """Loads a model and reports progress; the last message has loaded set."""
        return self._channel.stream(calls.load(model, options))

    async def load(self, model: str, options: control.LoadOptions | None = None) -> control.ModelStatus:
        """Loads a model and returns once it is ready."""
        last = None
        async with self.load_events(model, options) as events:
            async for event in events:
                last = event
        return calls.loaded_status(last)

    async def unload(self, model: str) -> control.UnloadResponse:
        """Unloads a model."""
        return await self._channel.unary(calls.unload(model))

    async def status(self) -> control.StatusResponse:
        """What is loaded."""
        return await self._channel.unary(calls.status())

    def watch(self) -> AsyncStream[control.WatchResponse]:
        """The status, now and at every change of a model's state."""
        return self._channel.stream(calls.watch())

    async def shutdown(self, grace_seconds: float | None = None) -> control.ShutdownResponse:
        """Ends the daemon."""
        return await self._channel.unary(calls.shutdown(grace_seconds))

    def generate(
        self,
        model: str,
        prompt: str | Sequence[int],
        *,
        sampling: inference.Sampling | None = None,
        limits: inference.Limits | None = None,
        suffix: str = "",
        use: inference.ModelUse | None = None,
    ) -> AsyncStream[inference.GenerateResponse]:
        """Continues a prompt, given as text or token ids; with a suffix, generates what comes between the two."""
        return self._channel.stream(calls.generate(model, prompt, sampling, limits, suffix, use))

    def chat(
        self,
        model: str,
        messages: Iterable[inference.ChatMessage],
        *,
        sampling: inference.Sampling | None = None,
        limits: inference.Limits | None = None,
        think: bool | None = None,
        think_level: str = "",
        tools_json: str = "",
        tool_choice: str = "",
        use: inference.ModelUse | None = None,
    ) -> AsyncStream[inference.ChatResponse]:
        """Answers a conversation: chunks of thinking and of content, and whole tool calls."""
        return self._channel.stream(
            calls.chat(model, messages, sampling, limits, think, think_level, tools_json, tool_choice, use)
        )

    async def embed(
        self,
        model: str,
        texts: Iterable[str],
        *,
        normalize: bool = False,
        truncate: bool = False,
        dimensions: int = 0,
        use: inference.ModelUse | None = None,
    ) -> inference.EmbedResponse:
        """Turns texts into vectors, cut to `dimensions` if given."""
        return await self._channel.unary(calls.embed(model, texts, normalize, truncate, dimensions, use))

    async def tokenize(self, model: str, text: str, *, add_special: bool = False) -> inference.TokenizeResponse:
        """Turns text into token ids."""
        return await self._channel.unary(calls.tokenize(model, text, add_special))
