"""ControlService through gRPC: load with progress, status, watch, unload; with workers that hold no model."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from hypura.locations import HttpAddress
from hypura.v1 import control_pb2, control_pb2_grpc
from hypura_daemon.chat.prompts.template import check_template
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.models.manager import ModelManager
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning.load_planner import LoadPlanner, fitted
from hypura_daemon.planning.plan import LoadRequest, MemoryItem, MemoryKind, Plan
from hypura_daemon.planning.tunings import Tunings
from hypura_daemon.residency.pending_loads import Planner
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.rpc.control import ControlServicer
from hypura_daemon.rpc.errors import ErrorInterceptor
from hypura_daemon.rpc.status import StatusReporter
from hypura_daemon.settings import Settings
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
from tests.daemon.models.files import write_model
from tests.daemon.models.test_pulling import MODEL, QUICK
from tests.daemon.models.web_server import host_of, served
from tests.daemon.residency.harness import FAKE, make_plan
from tests.daemon.test_inference import Shelf


@dataclass
class Desk:
    """A control service whose plans the test sees."""

    stub: Any = None
    asked: list[LoadRequest] = field(default_factory=list)
    wholes: list[bool] = field(default_factory=list)
    graces: list[float | None] = field(default_factory=list)

    async def load(self, **options: Any) -> list[control_pb2.LoadResponse]:
        request = control_pb2.LoadRequest(model="m", options=control_pb2.LoadOptions(**options))
        return [message async for message in self.stub.Load(request)]

    async def states(self) -> dict[str, int]:
        status = await self.stub.Status(control_pb2.StatusRequest())
        return {model.name: model.state for model in status.models}


class Noting(LoadPlanner):
    """A load planner whose plans are made by the desk."""

    def __init__(self, registry: Registry, hardware: HardwareStore, planner: Planner) -> None:
        super().__init__(registry, hardware, 1, 1)
        self._plan_at_desk = planner

    async def __call__(self, name: str, request: LoadRequest, *, whole: bool) -> Plan:
        return await self._plan_at_desk(name, request, whole=whole)

    async def measured(self, name: str) -> None:
        """There is no machine here to measure."""


@asynccontextmanager
async def serving(mode: str = "well", home: Path | None = None) -> AsyncIterator[Desk]:
    desk = Desk()

    async def planner(name: str, request: LoadRequest, *, whole: bool) -> Plan:
        desk.asked.append(request)
        desk.wholes.append(whole)
        return make_plan(name, request.memory_limit_bytes)

    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        folder = Path(name)

        def make_worker(model: str) -> WorkerProcess:
            command = (sys.executable, str(FAKE), mode)
            return WorkerProcess(model, folder, WorkerDeadlines(20, 20, 20, 5), command=command)

        settings = Settings(
            folder,
            folder / "t.sock",
            True,
            HttpAddress("::1", 0),
            None,
            1,
            1,
            "info",
            1,
            1,
            1,
            1,
            reload_wait_seconds=1,
        )
        supervisor = Supervisor(planner, make_worker, memory_budget_bytes=100, reload_wait_seconds=5)
        registry = cast(Registry, Shelf()) if home is None else Registry(home)
        hardware = HardwareStore(folder)
        control = ControlServicer(
            registry,
            hardware,
            Noting(registry, hardware, planner),
            supervisor,
            StatusReporter(settings, supervisor, hardware),
            ModelManager(registry, home or folder, supervisor.unload, check_template, QUICK),
            Tunings(folder / "tuning"),
            desk.graces.append,
        )
        server = grpc.aio.server(interceptors=[ErrorInterceptor()])
        control_pb2_grpc.add_ControlServiceServicer_to_server(control, server)
        server.add_insecure_port(f"unix:{settings.socket}")
        await server.start()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            async with grpc.aio.insecure_channel(f"unix:{settings.socket}") as channel:
                desk.stub = control_pb2_grpc.ControlServiceStub(channel)
                try:
                    yield desk
                finally:
                    supervisor.end()
                    await server.stop(0.1)


async def test_load_tells_stages_and_progress_and_ends_with_the_status() -> None:
    async with serving() as desk:
        messages = await desk.load(memory_limit_bytes=60, pin=True)
        assert [m.stage for m in messages if m.HasField("stage")] == ["planning", "starting a worker", "loading"]
        assert [m.progress for m in messages if m.HasField("progress")] == [0.5]
        loaded = messages[-1].loaded
        assert (loaded.state, loaded.pinned) == (control_pb2.MODEL_STATE_READY, True)
        assert loaded.plan.memory_limit_bytes == 60
        assert loaded.worker_pid > 0
        assert loaded.statistics.rss_bytes == 1
        status = await desk.stub.Status(control_pb2.StatusRequest())
        assert (status.daemon.memory_budget_bytes, status.daemon.planned_bytes) == (100, 60)
        assert status.models[0].worker_pid == loaded.worker_pid
        assert (await desk.stub.Unload(control_pb2.UnloadRequest(model="m"))).was_loaded
        assert not (await desk.stub.Unload(control_pb2.UnloadRequest(model="m"))).was_loaded
        assert await desk.states() == {}


@pytest.mark.parametrize("asked_bytes", [0, 60, 100, 101, 1 << 50])
async def test_a_plan_is_what_a_load_gets(asked_bytes: int) -> None:
    """A bug once: with a budget smaller than --memory, the plan was resident and the load streamed."""
    async with serving() as desk:
        options = control_pb2.LoadOptions(memory_limit_bytes=asked_bytes, exact=True)
        shown = await desk.stub.Plan(control_pb2.PlanRequest(model="m", options=options))
        messages = await desk.load(memory_limit_bytes=asked_bytes, exact=True)
        assert desk.asked[0] == desk.asked[1]
        assert desk.wholes[0] == desk.wholes[1]
        assert shown.plan.memory_limit_bytes == messages[-1].loaded.plan.memory_limit_bytes <= 100
        assert shown.limiting_budget_bytes == (100 if asked_bytes > 100 else 0)
        assert any("budget" in message.stage for message in messages) == (asked_bytes > 100)


async def test_a_plan_for_a_process_of_the_clients_own_is_not_limited_by_the_budget() -> None:
    """So that no benchmark measures less memory than it reports."""
    async with serving() as desk:
        request = control_pb2.PlanRequest(model="m", beyond_budget=True)
        request.options.memory_limit_bytes = 5000
        shown = await desk.stub.Plan(request)
        assert (shown.plan.memory_limit_bytes, shown.limiting_budget_bytes, desk.wholes) == (5000, 0, [False])


async def test_load_without_options_takes_the_model_as_it_is() -> None:
    async with serving() as desk:
        first = (await desk.load(memory_limit_bytes=60))[-1].loaded
        [again] = await desk.load()
        assert again.loaded.worker_pid == first.worker_pid
        other = (await desk.load(memory_limit_bytes=60, weight_cache_percent=0))[-1].loaded
        assert other.worker_pid != first.worker_pid
        assert desk.asked[-1] == LoadRequest(memory_limit_bytes=60, weight_cache_percent=0)


async def test_a_load_that_fails_is_reported_and_shown() -> None:
    async with serving("die-load") as desk:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await desk.load()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        [model] = (await desk.stub.Status(control_pb2.StatusRequest())).models
        assert model.state == control_pb2.MODEL_STATE_FAILED
        assert "out of luck while loading" in model.error


async def test_watch_tells_every_state_until_ready() -> None:
    async with serving() as desk:
        watch = desk.stub.Watch(control_pb2.WatchRequest())
        assert list((await watch.read()).status.models) == []
        await desk.load()
        states: list[int] = []
        while not states or states[-1] != control_pb2.MODEL_STATE_READY:
            states += [model.state for model in (await watch.read()).status.models]
        assert states[0] == control_pb2.MODEL_STATE_LOADING


async def test_shutdown_passes_the_grace_on() -> None:
    async with serving() as desk:
        await desk.stub.Shutdown(control_pb2.ShutdownRequest())
        await desk.stub.Shutdown(control_pb2.ShutdownRequest(grace_seconds=3))
        assert desk.graces == [None, 3.0]


def test_a_resident_model_leaves_what_it_does_not_need() -> None:
    plan = replace(make_plan("m", 1000), memory=(MemoryItem(MemoryKind.WEIGHTS, 100),))
    assert fitted(plan).memory_limit_bytes == 110
    assert fitted(replace(plan, memory_limit_bytes=105)).memory_limit_bytes == 105


async def test_models_are_made_copied_shown_and_removed(tmp_path: Path) -> None:
    file = write_model(tmp_path / "m.gguf")
    async with serving(home=tmp_path / "home") as desk:
        text = f'FROM {file}\nSYSTEM "Be kind."\nPARAMETER stop a\nTEMPLATE {{{{ .Prompt }}}}\nLICENSE MIT'
        made = await desk.stub.CreateModel(control_pb2.CreateModelRequest(name="a", modelfile=text))
        assert (made.model.name, made.model.path, len(made.model.digest)) == ("a:latest", str(file), 64)
        copied = await desk.stub.CopyModel(control_pb2.CopyModelRequest(source="a", destination="b"))
        assert (copied.model.name, copied.model.digest) == ("b:latest", made.model.digest)
        shown = await desk.stub.ShowModel(control_pb2.ShowModelRequest(name="b"))
        assert (shown.system, shown.license, shown.chat_template) == ("Be kind.", "MIT", "{{ .Prompt }}")
        assert shown.parameters.split() == ["stop", '"a"']
        assert any(told.startswith("System messages are put before") for told in shown.adaptations)
        assert f"FROM {file}\n" in shown.modelfile and "PARAMETER stop a\n" in shown.modelfile
        assert shown.model.digest == made.model.digest
        await desk.stub.RemoveModel(control_pb2.RemoveModelRequest(name="a"))
        listed = await desk.stub.ListModels(control_pb2.ListModelsRequest())
        assert [model.name for model in listed.models] == ["b:latest"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await desk.stub.CreateModel(control_pb2.CreateModelRequest(name="c", modelfile="FROM ./m.gguf"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_pull_tells_its_stages_and_ends_with_the_model(tmp_path: Path) -> None:
    with served() as web:
        web.add_model("library/m", MODEL)
        name = f"{host_of(web)}/library/m"
        async with serving(home=tmp_path / "home") as desk:
            request = control_pb2.PullModelRequest(name=name, insecure=True)
            messages = [message async for message in desk.stub.PullModel(request)]
            assert messages[0].stage == "pulling manifest"
            assert {m.transfer.completed_bytes == m.transfer.total_bytes for m in messages if m.HasField("transfer")}
            assert (messages[-1].model.name, messages[-1].model.error) == (f"{name}:latest", "")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                [message async for message in desk.stub.PullModel(control_pb2.PullModelRequest(name=name))]
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
