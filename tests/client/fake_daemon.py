"""A small real daemon for the client's tests: the services of hypura.v1 with canned answers.

Run as a process; HYPURA_SOCKET says where it listens, and one line on stdout that it does. The
model's name decides what happens: missing, dying, silent, wordless (no chat template), thoughtful
(thinks first), counting (says how many messages it got), or fine; a chat with tools calls one;
the prompt "forever" is answered until the call is cancelled.
"""

# ruff: noqa: N802 - the methods are called as the rpcs are

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hypura.v1 import control_pb2, control_pb2_grpc, inference_pb2, inference_pb2_grpc, placement_pb2
from hypura_client.channel import target_of

ALREADY_RUNNING = 3
Context = grpc.aio.ServicerContext[Any, Any]


async def refuse(context: Context, code: grpc.StatusCode, name: str, message: str) -> None:
    await context.abort(code, message, (("hypura-error", name),))


async def check(context: Context, model: str) -> None:
    if model == "missing":
        await refuse(context, grpc.StatusCode.NOT_FOUND, "ModelNotFound", "no model missing; see hypuractl models")


def plan(model: str) -> placement_pb2.Plan:
    return placement_pb2.Plan(
        model=model,
        architecture="qwen3moe",
        mode=placement_pb2.MODE_EXPERT_STREAMING,
        reason="the experts do not fit",
        tensors=[
            placement_pb2.TensorPlacement(
                name="blk.0.ffn_up_exps.weight",
                type="Q4_K",
                shape=[2048, 768, 128],
                role=placement_pb2.TENSOR_ROLE_ROUTED_EXPERT,
                tier=placement_pb2.TIER_NVME,
                extent=placement_pb2.Extent(length_bytes=113_246_208),
            )
        ],
        memory_limit_bytes=2_000_000_000,
        memory=[placement_pb2.MemoryItem(name="slots", size_bytes=1_500_000_000)],
        context_tokens=4096,
        experts=placement_pb2.ExpertPlan(
            groups=[placement_pb2.ExpertGroup(layers=[0, 1], slots=64, slot_bytes=3_000_000)],
            experts_per_layer=128,
        ),
        estimate=placement_pb2.Estimate(tok_per_second=2.5, bound=placement_pb2.BOUND_DRIVE),
        resident_bytes=1_000_000_000,
        streamed_bytes=18_000_000_000,
    )


def gguf_files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    return sorted(path.glob("*.gguf")) if path.is_dir() else [path]


class Control(control_pb2_grpc.ControlServiceServicer):
    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.ended = asyncio.Event()
        self.changed = asyncio.Condition()
        self.cancelled_answers = 0
        self.names: dict[str, str] = {}
        self.last_options = control_pb2.LoadOptions()
        self.loads = 0

    async def note_cancelled(self) -> None:
        async with self.changed:
            self.cancelled_answers += 1
            self.changed.notify_all()

    async def Profile(self, request: control_pb2.ProfileRequest, context: Context) -> Any:
        drive = placement_pb2.DriveProfile(mount=request.model or "/", bytes_per_second=1.5e9)
        return control_pb2.ProfileResponse(
            profile=placement_pb2.HardwareProfile(cpu="Test [bold]CPU", drives=[drive], worker_base_bytes=1)
        )

    async def ListModels(self, request: control_pb2.ListModelsRequest, context: Context) -> Any:
        return control_pb2.ListModelsResponse(
            models=[control_pb2.ModelSummary(name=n, path=p) for n, p in self.names.items()]
        )

    async def AddModel(self, request: control_pb2.AddModelRequest, context: Context) -> Any:
        try:
            files = gguf_files(Path(request.path))
        except FileNotFoundError as error:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "ModelFileError", str(error))
            raise
        broken = [f for f in files if f.stem.startswith("broken")]
        models = [control_pb2.ModelSummary(name=request.name or f.stem, path=str(f)) for f in files if f not in broken]
        if not request.list_only:
            self.names.update({model.name: model.path for model in models})
        passed_over = [control_pb2.PassedOver(path=str(f), reason=f"{f} is damaged") for f in broken]
        return control_pb2.AddModelResponse(models=models, passed_over=passed_over)

    async def RemoveModel(self, request: control_pb2.RemoveModelRequest, context: Context) -> Any:
        await check(context, request.name)
        self.names.pop(request.name, None)
        return control_pb2.RemoveModelResponse()

    async def CopyModel(self, request: control_pb2.CopyModelRequest, context: Context) -> Any:
        await check(context, request.source)
        return control_pb2.CopyModelResponse(model=control_pb2.ModelSummary(name=request.destination))

    async def CreateModel(self, request: control_pb2.CreateModelRequest, context: Context) -> Any:
        summary = control_pb2.ModelSummary(name=request.name, path=request.modelfile)
        return control_pb2.CreateModelResponse(model=summary)

    async def PullModel(
        self, request: control_pb2.PullModelRequest, context: Context
    ) -> AsyncIterator[control_pb2.PullModelResponse]:
        await check(context, request.name)
        yield control_pb2.PullModelResponse(stage="pulling manifest")
        for done_bytes in (0, 500, 1000):
            transfer = control_pb2.TransferProgress(
                file="sha256:" + "ab" * 32, total_bytes=1000, completed_bytes=done_bytes
            )
            yield control_pb2.PullModelResponse(transfer=transfer)
        if request.name != "unready":
            summary = control_pb2.ModelSummary(name=request.name, size_bytes=1000, quantization="Q4_K_M")
            yield control_pb2.PullModelResponse(model=summary)

    async def ShowModel(self, request: control_pb2.ShowModelRequest, context: Context) -> Any:
        await check(context, request.name)
        return control_pb2.ShowModelResponse(
            model=control_pb2.ModelSummary(name=request.name),
            metadata_json='{"general.architecture": "qwen3moe"}',
            chat_template="" if request.name == "wordless" else "{{ messages }}",
            modelfile="FROM /m.gguf\n",
            tensors=plan(request.name).tensors,
        )

    async def Plan(self, request: control_pb2.PlanRequest, context: Context) -> Any:
        await check(context, request.model)
        self.last_options = request.options
        over = request.options.memory_limit_bytes > 10**14
        return control_pb2.PlanResponse(plan=plan(request.model), limiting_budget_bytes=20 * 10**9 if over else 0)

    def model_status(self, name: str) -> control_pb2.ModelStatus:
        status = control_pb2.ModelStatus(
            name=name,
            state=control_pb2.MODEL_STATE_READY,
            worker_pid=4321,
            plan=plan(name),
            loaded_at_seconds=time.time(),
        )
        status.loaded.load_seconds = 1.5
        status.statistics.failed_requests = self.cancelled_answers
        return status

    async def Load(self, request: control_pb2.LoadRequest, context: Context) -> AsyncIterator[control_pb2.LoadResponse]:
        await check(context, request.model)
        self.last_options = request.options
        self.loads += 1
        yield control_pb2.LoadResponse(stage="starting the worker")
        if request.model == "unready":
            return
        yield control_pb2.LoadResponse(progress=0.5)
        yield control_pb2.LoadResponse(loaded=self.model_status(request.model))

    async def Unload(self, request: control_pb2.UnloadRequest, context: Context) -> Any:
        await check(context, request.model)
        return control_pb2.UnloadResponse(was_loaded=True)

    def status(self) -> control_pb2.StatusResponse:
        return control_pb2.StatusResponse(
            daemon=control_pb2.DaemonStatus(
                pid=os.getpid(),
                version="9.9",
                socket_path=self.socket_path,
                measuring=control_pb2.MeasuringStatus(what="the machine", seconds=7.0),
            ),
            models=[self.model_status("ready")],
        )

    async def Status(self, request: control_pb2.StatusRequest, context: Context) -> Any:
        return self.status()

    async def Watch(self, request: control_pb2.WatchRequest, context: Context) -> None:
        seen = -1
        while True:
            async with self.changed:
                while self.cancelled_answers == seen:
                    await self.changed.wait()
                seen = self.cancelled_answers
            await context.write(control_pb2.WatchResponse(status=self.status()))

    async def Shutdown(self, request: control_pb2.ShutdownRequest, context: Context) -> Any:
        self.ended.set()
        return control_pb2.ShutdownResponse()


class Inference(inference_pb2_grpc.InferenceServiceServicer):
    def __init__(self, control: Control) -> None:
        self.control = control

    async def answer(self, model: str, prompt: str, request: Any, response: Any, context: Context) -> None:
        await check(context, model)
        try:
            prefill = inference_pb2.PrefillProgress(processed_tokens=1, prompt_tokens=2)
            await context.write(response(prefill=prefill))
            chunk = response(chunk=inference_pb2.TokenChunk(text="né ", token_ids=[7]))
            await context.write(chunk)
            if model == "dying":
                died = "the worker (pid 7) of dying was killed by signal 9"
                await refuse(context, grpc.StatusCode.UNAVAILABLE, "WorkerDied", died)
            if model == "silent":
                await asyncio.Event().wait()
            while prompt == "forever":
                await context.write(chunk)
                await asyncio.sleep(0.01)
            await context.write(response(chunk=inference_pb2.TokenChunk(text=prompt, token_ids=[8, 9])))
        except asyncio.CancelledError:
            await self.control.note_cancelled()
            raise
        statistics = inference_pb2.RequestStatistics(
            prompt_tokens=2, output_tokens=3, forced_tokens=1, hit_rate=0.5, seed=request.sampling.seed
        )
        finished = inference_pb2.Finished(reason=inference_pb2.FINISH_REASON_LENGTH, statistics=statistics)
        await context.write(response(finished=finished))

    async def Generate(self, request: inference_pb2.GenerateRequest, context: Context) -> None:
        prompt = request.prompt or str(list(request.prompt_ids.ids))
        await self.answer(request.model, prompt, request, inference_pb2.GenerateResponse, context)

    async def Chat(self, request: inference_pb2.ChatRequest, context: Context) -> None:
        prompt = request.messages[-1].content
        if request.model == "counting" and prompt != "forever":
            prompt = f"{len(request.messages)} messages"
        if request.model == "thoughtful":
            for thought in ("hm, ", request.think_level or str(request.think)):
                chunk = inference_pb2.TokenChunk(thinking=thought, token_ids=[1])
                await context.write(inference_pb2.ChatResponse(chunk=chunk))
        if request.tools_json:
            call = inference_pb2.ToolCall(id="call_1", name="weather", arguments_json='{"city": "Köln"}')
            await context.write(inference_pb2.ChatResponse(tool_call=call))
        await self.answer(request.model, prompt, request, inference_pb2.ChatResponse, context)

    async def Embed(self, request: inference_pb2.EmbedRequest, context: Context) -> Any:
        if request.model == "silent":
            await asyncio.Event().wait()
        vectors = [inference_pb2.Embedding(values=[float(len(text))]) for text in request.texts]
        return inference_pb2.EmbedResponse(embeddings=vectors)

    async def Tokenize(self, request: inference_pb2.TokenizeRequest, context: Context) -> Any:
        return inference_pb2.TokenizeResponse(token_ids=list(request.text.encode()))


async def serve(socket_path: str) -> None:
    server = grpc.aio.server()
    control = Control(socket_path)
    control_pb2_grpc.add_ControlServiceServicer_to_server(control, server)
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(Inference(control), server)
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(target_of(socket_path))
    await server.start()
    print("ready", flush=True)
    await control.ended.wait()
    await server.stop(0.1)


def main() -> int:
    socket_path = Path(os.environ["HYPURA_SOCKET"])
    socket_path.parent.mkdir(parents=True, exist_ok=True)
    with socket_path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ALREADY_RUNNING
        asyncio.run(serve(str(socket_path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
