"""ControlService: the rpcs that manage the daemon and its models. Errors become statuses in errors.py."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hypura.v1 import control_pb2, control_pb2_grpc
from hypura_daemon.chat.job import adaptations
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.hardware.wire import to_proto
from hypura_daemon.models.manager import ModelManager, creation_of
from hypura_daemon.models.modelfile import parse_modelfile
from hypura_daemon.models.names import full_name
from hypura_daemon.models.registry import Registry
from hypura_daemon.models.stores.folder import LeftOut
from hypura_daemon.models.wire import model_summary, pull_response, shown_model
from hypura_daemon.planning.load_planner import LoadPlanner, measured_file
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.planning.tunings import Tunings, machine_of
from hypura_daemon.planning.wire import load_request, plan_to_proto, tuning_of, tuning_to_proto
from hypura_daemon.residency.lease import LoadEvent, Use
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.rpc.status import StatusReporter
from hypura_daemon.system.threads import FILES, REQUESTS, TEMPLATES

MAX_GRACE_SECONDS = 86400.0


class ControlServicer(control_pb2_grpc.ControlServiceServicer):
    """See control.proto. `shut_down` is called with the grace time, None for the default."""

    def __init__(
        self,
        registry: Registry,
        hardware: HardwareStore,
        planner: LoadPlanner,
        supervisor: Supervisor,
        reporter: StatusReporter,
        manager: ModelManager,
        tunings: Tunings,
        shut_down: Callable[[float | None], None],
    ) -> None:
        self._registry = registry
        self._hardware = hardware
        self._planner = planner
        self._supervisor = supervisor
        self._reporter = reporter
        self._manager = manager
        self._tunings = tunings
        self._shut_down = shut_down

    async def Profile(  # noqa: N802
        self, request: control_pb2.ProfileRequest, context: Any
    ) -> control_pb2.ProfileResponse:
        """Describes the machine."""
        path: Path | None = None
        if request.model.startswith("/"):
            path = Path(request.model)
            if not await FILES(path.exists, key=str(path)):
                raise InvalidRequest(f"{path} does not exist; give a model's name or an existing file")
        elif request.model:
            path = measured_file(await FILES(self._registry.open, request.model, key=request.model))
        return control_pb2.ProfileResponse(profile=to_proto(await self._hardware.profile(path, request.refresh)))

    async def ListModels(  # noqa: N802
        self, request: control_pb2.ListModelsRequest, context: Any
    ) -> control_pb2.ListModelsResponse:
        """Lists the registered models."""
        models = await FILES(self._registry.list, key="/")
        unusable = await FILES(self._registry.unusable, key="/")
        return control_pb2.ListModelsResponse(models=[model_summary(model) for model in (*models, *unusable)])

    async def AddModel(  # noqa: N802
        self, request: control_pb2.AddModelRequest, context: Any
    ) -> control_pb2.AddModelResponse:
        """Registers a file or a folder."""
        path = Path(request.path)
        if "\0" in request.path or not path.is_absolute():
            raise InvalidRequest(
                f"the path {request.path!r} is not absolute; give the whole path of a GGUF file or folder"
            )
        left_out: list[LeftOut] = []
        if request.name or not await FILES(path.is_dir, key=str(path)):
            models = await FILES(self._registry.add, path, request.name, key=str(path))
        else:
            models, left_out = await FILES(
                partial(self._registry.add_folder, list_only=request.list_only), path, key=str(path)
            )
        return control_pb2.AddModelResponse(
            models=[model_summary(model) for model in models],
            passed_over=[
                control_pb2.PassedOver(path=left.path, reason=left.reason, is_part=left.is_part) for left in left_out
            ],
        )

    async def RemoveModel(  # noqa: N802
        self, request: control_pb2.RemoveModelRequest, context: Any
    ) -> control_pb2.RemoveModelResponse:
        """Forgets a model, and unloads it first."""
        await self._manager.remove(request.name)
        return control_pb2.RemoveModelResponse()

    async def CopyModel(  # noqa: N802
        self, request: control_pb2.CopyModelRequest, context: Any
    ) -> control_pb2.CopyModelResponse:
        """Names a model a second time."""
        summary = await self._manager.copy(request.source, request.destination)
        return control_pb2.CopyModelResponse(model=model_summary(summary))

    async def CreateModel(  # noqa: N802
        self, request: control_pb2.CreateModelRequest, context: Any
    ) -> control_pb2.CreateModelResponse:
        """Makes a model out of a Modelfile."""
        creation = creation_of(request.name, await REQUESTS(parse_modelfile, request.modelfile))
        async with aclosing(self._manager.create(creation)) as events:
            async for _ in events:
                pass
        summary = await FILES(self._registry.summary, full_name(request.name), key=request.name)
        return control_pb2.CreateModelResponse(model=model_summary(summary))

    async def PullModel(  # noqa: N802
        self, request: control_pb2.PullModelRequest, context: Any
    ) -> AsyncIterator[control_pb2.PullModelResponse]:
        """Downloads a model; the download goes on as long as one client follows it."""
        async with aclosing(self._manager.pull(request.name, insecure=request.insecure)) as events:
            async for event in events:
                yield pull_response(event)
        summary = await FILES(self._registry.summary, full_name(request.name), key=request.name)
        yield control_pb2.PullModelResponse(model=model_summary(summary))

    async def ShowModel(  # noqa: N802
        self, request: control_pb2.ShowModelRequest, context: Any
    ) -> control_pb2.ShowModelResponse:
        """Describes one model."""
        entry = await FILES(self._registry.get, request.name, key=request.name)
        model = await FILES(self._registry.model, entry, key=request.name)
        adapted = await TEMPLATES(adaptations, model, entry.overrides, key=entry.overrides.template or request.name)
        return await FILES(shown_model, model, entry.overrides, adapted, key=request.name)

    async def Plan(self, request: control_pb2.PlanRequest, context: Any) -> control_pb2.PlanResponse:  # noqa: N802
        """Plans how a model would be loaded now, without loading it."""
        name = (await FILES(self._registry.get, request.model, key=request.model)).name
        if not 0 <= request.drive_bytes_per_second < math.inf:
            raise InvalidRequest(f"a drive cannot give {request.drive_bytes_per_second} bytes per second")
        wanted = replace(load_request(request.options), drive_bytes_per_second=request.drive_bytes_per_second)
        granted_bytes = wanted.memory_limit_bytes
        if not request.beyond_budget:
            granted_bytes = self._supervisor.granted_bytes(granted_bytes)
        plan = await self._planner.preview(
            name, wanted, spare_bytes=self._supervisor.spare_bytes(name), granted_bytes=granted_bytes
        )
        limiting_budget_bytes = granted_bytes if granted_bytes < wanted.memory_limit_bytes else 0
        return control_pb2.PlanResponse(plan=plan_to_proto(plan), limiting_budget_bytes=limiting_budget_bytes)

    async def ShowTuning(  # noqa: N802
        self, request: control_pb2.ShowTuningRequest, context: Any
    ) -> control_pb2.ShowTuningResponse:
        """Shows what tuning found."""
        model = await FILES(self._registry.open, request.model, key=request.model)
        machine = machine_of(await self._hardware.profile(measured_file(model)))
        tunings = await self._tunings.read(model.digest)
        return control_pb2.ShowTuningResponse(
            model=model.name,
            tunings=[tuning_to_proto(tuning, machine) for tuning in tunings],
            path=str(self._tunings.path(model.digest)),
        )

    async def KeepTuning(  # noqa: N802
        self, request: control_pb2.KeepTuningRequest, context: Any
    ) -> control_pb2.KeepTuningResponse:
        """Keeps what tuning found."""
        tuning = tuning_of(request.tuning)
        model = await FILES(self._registry.open, request.model, key=request.model)
        hardware = await self._hardware.profile(measured_file(model))
        kept = await self._tunings.save(model.digest, tuning, hardware)
        return control_pb2.KeepTuningResponse(
            tuning=tuning_to_proto(kept, kept.machine), path=str(self._tunings.path(model.digest))
        )

    async def ForgetTuning(  # noqa: N802
        self, request: control_pb2.ForgetTuningRequest, context: Any
    ) -> control_pb2.ForgetTuningResponse:
        """Forgets what tuning found."""
        model = await FILES(self._registry.open, request.model, key=request.model)
        return control_pb2.ForgetTuningResponse(was_kept=await self._tunings.forget(model.digest))

    async def Load(  # noqa: N802
        self, request: control_pb2.LoadRequest, context: Any
    ) -> AsyncIterator[control_pb2.LoadResponse]:
        """Loads a model, and reports its progress. The load goes on when its client leaves."""
        name = (await FILES(self._registry.get, request.model, key=request.model)).name
        wanted: LoadRequest | None = load_request(request.options)
        if wanted == LoadRequest():
            wanted = None  # No option was requested, so the model may stay as it is.
        options = request.options
        use = Use(options.keep_alive_seconds if options.HasField("keep_alive_seconds") else None)
        events: asyncio.Queue[LoadEvent | None] = asyncio.Queue()

        async def load() -> control_pb2.ModelStatus:
            try:
                async with self._supervisor.lease(
                    name, wanted, pin=request.options.pin, use=use, insist=True, on_event=events.put_nowait
                ):
                    return await self._reporter.model(name)
            finally:
                events.put_nowait(None)

        loading = asyncio.ensure_future(load())
        try:
            while (event := await events.get()) is not None:
                if event.share is not None:
                    yield control_pb2.LoadResponse(progress=event.share)
                else:
                    yield control_pb2.LoadResponse(stage=event.stage)
            yield control_pb2.LoadResponse(loaded=await loading)
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    async def Unload(  # noqa: N802
        self, request: control_pb2.UnloadRequest, context: Any
    ) -> control_pb2.UnloadResponse:
        """Unloads a model."""
        name = (await FILES(self._registry.get, request.model, key=request.model)).name
        return control_pb2.UnloadResponse(was_loaded=await self._supervisor.unload(name))

    async def Status(  # noqa: N802
        self, request: control_pb2.StatusRequest, context: Any
    ) -> control_pb2.StatusResponse:
        """Reports what is loaded."""
        return await self._reporter.report()

    async def Watch(  # noqa: N802
        self, request: control_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[control_pb2.WatchResponse]:
        """The status, now and after each change."""
        async with aclosing(self._supervisor.watch()) as changes:
            async for _ in changes:
                yield control_pb2.WatchResponse(status=await self._reporter.report())

    async def Shutdown(  # noqa: N802
        self, request: control_pb2.ShutdownRequest, context: Any
    ) -> control_pb2.ShutdownResponse:
        """Ends the daemon."""
        grace_seconds = request.grace_seconds if request.HasField("grace_seconds") else None
        if grace_seconds is not None and not (math.isfinite(grace_seconds) and 0 <= grace_seconds <= MAX_GRACE_SECONDS):
            raise InvalidRequest(f"a grace of {grace_seconds} seconds is not possible; give 0 to {MAX_GRACE_SECONDS:g}")
        self._shut_down(grace_seconds)
        return control_pb2.ShutdownResponse()
