"""Every call as plain data: its method, its request, the type of its answer, and how long it may take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.message import Message

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client.errors import UnexpectedReply

R = TypeVar("R", bound=Message)


class Timeout(Enum):
    """Seconds that a call may take; for streams, seconds between two messages."""

    QUICK = 30.0
    MEASURING = 300.0
    """The first profile or plan measures the drive and probes the devices."""
    LOADING = 1800.0
    """Embed and tokenize load the model first, and report no progress."""
    STREAM = 600.0
    """Loads and prompts report progress; a request that waits in the queue does not."""
    NONE = None
    """A watch is silent while nothing changes; the connection ends with the daemon."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One call, ready to be sent."""

    method: str
    request: Message
    response: type[R]
    timeout: Timeout = Timeout.QUICK

    def timeout_seconds(self, chosen_seconds: float | None) -> float | None:
        """How long the call may take; chosen_seconds, if given, replaces the usual time. None for no limit."""
        if self.timeout is Timeout.NONE:
            return None
        return self.timeout.value if chosen_seconds is None else chosen_seconds


def _control(name: str, request: Message, response: type[R], timeout: Timeout = Timeout.QUICK) -> Call[R]:
    return Call(f"/hypura.v1.ControlService/{name}", request, response, timeout)


def _inference(name: str, request: Message, response: type[R], timeout: Timeout) -> Call[R]:
    return Call(f"/hypura.v1.InferenceService/{name}", request, response, timeout)


def profile(model: str, refresh: bool) -> Call[control.ProfileResponse]:
    request = control.ProfileRequest(model=model, refresh=refresh)
    return _control("Profile", request, control.ProfileResponse, Timeout.MEASURING)


def models() -> Call[control.ListModelsResponse]:
    return _control("ListModels", control.ListModelsRequest(), control.ListModelsResponse)


def add(path: str, name: str, list_only: bool = False) -> Call[control.AddModelResponse]:
    request = control.AddModelRequest(path=path, name=name, list_only=list_only)
    return _control("AddModel", request, control.AddModelResponse, Timeout.MEASURING)


def remove(name: str) -> Call[control.RemoveModelResponse]:
    request = control.RemoveModelRequest(name=name)
    return _control("RemoveModel", request, control.RemoveModelResponse)


def copy(source: str, destination: str) -> Call[control.CopyModelResponse]:
    request = control.CopyModelRequest(source=source, destination=destination)
    return _control("CopyModel", request, control.CopyModelResponse)


def create(name: str, modelfile: str) -> Call[control.CreateModelResponse]:
    request = control.CreateModelRequest(name=name, modelfile=modelfile)
    return _control("CreateModel", request, control.CreateModelResponse, Timeout.LOADING)


def pull(name: str, insecure: bool) -> Call[control.PullModelResponse]:
    request = control.PullModelRequest(name=name, insecure=insecure)
    return _control("PullModel", request, control.PullModelResponse, Timeout.STREAM)


def pulled_model(last: control.PullModelResponse | None) -> control.ModelSummary:
    """The model in the last message of a pull."""
    if last is None or last.WhichOneof("event") != "model":
        raise UnexpectedReply("the pull ended without naming the model; see `hypuractl models`")
    return last.model


def show(name: str) -> Call[control.ShowModelResponse]:
    return _control("ShowModel", control.ShowModelRequest(name=name), control.ShowModelResponse)


def plan(
    model: str,
    options: control.LoadOptions | None,
    drive_bytes_per_second: float = 0.0,
    beyond_budget: bool = False,
) -> Call[control.PlanResponse]:
    request = control.PlanRequest(
        model=model,
        options=options,
        drive_bytes_per_second=drive_bytes_per_second,
        beyond_budget=beyond_budget,
    )
    return _control("Plan", request, control.PlanResponse, Timeout.MEASURING)


def show_tuning(model: str) -> Call[control.ShowTuningResponse]:
    request = control.ShowTuningRequest(model=model)
    return _control("ShowTuning", request, control.ShowTuningResponse, Timeout.MEASURING)


def keep_tuning(model: str, tuning: control.Tuning) -> Call[control.KeepTuningResponse]:
    request = control.KeepTuningRequest(model=model, tuning=tuning)
    return _control("KeepTuning", request, control.KeepTuningResponse, Timeout.MEASURING)


def forget_tuning(model: str) -> Call[control.ForgetTuningResponse]:
    return _control("ForgetTuning", control.ForgetTuningRequest(model=model), control.ForgetTuningResponse)


def load(model: str, options: control.LoadOptions | None) -> Call[control.LoadResponse]:
    request = control.LoadRequest(model=model, options=options)
    return _control("Load", request, control.LoadResponse, Timeout.STREAM)


def loaded_status(last: control.LoadResponse | None) -> control.ModelStatus:
    """The status in the last message of a load."""
    if last is None or last.WhichOneof("event") != "loaded":
        raise UnexpectedReply("the load ended without saying that the model is ready; see `hypuractl status`")
    return last.loaded


def unload(model: str) -> Call[control.UnloadResponse]:
    request = control.UnloadRequest(model=model)
    return _control("Unload", request, control.UnloadResponse, Timeout.MEASURING)


def status() -> Call[control.StatusResponse]:
    return _control("Status", control.StatusRequest(), control.StatusResponse)


def watch() -> Call[control.WatchResponse]:
    return _control("Watch", control.WatchRequest(), control.WatchResponse, Timeout.NONE)


def shutdown(grace_seconds: float | None) -> Call[control.ShutdownResponse]:
    request = control.ShutdownRequest(grace_seconds=grace_seconds)
    return _control("Shutdown", request, control.ShutdownResponse)


def generate(
    model: str,
    prompt: str | Sequence[int],
    sampling: inference.Sampling | None,
    limits: inference.Limits | None,
    suffix: str,
    use: inference.ModelUse | None,
) -> Call[inference.GenerateResponse]:
    request = inference.GenerateRequest(model=model, sampling=sampling, limits=limits, suffix=suffix, use=use)
    if isinstance(prompt, str):
        request.prompt = prompt
    else:
        request.prompt_ids.CopyFrom(inference.TokenIds(ids=prompt))
    return _inference("Generate", request, inference.GenerateResponse, Timeout.STREAM)


def chat(
    model: str,
    messages: Iterable[inference.ChatMessage],
    sampling: inference.Sampling | None,
    limits: inference.Limits | None,
    think: bool | None,
    think_level: str,
    tools_json: str,
    tool_choice: str,
    use: inference.ModelUse | None,
) -> Call[inference.ChatResponse]:
    request = inference.ChatRequest(
        model=model,
        messages=messages,
        sampling=sampling,
        limits=limits,
        think=think,
        think_level=think_level,
        tools_json=tools_json,
        tool_choice=tool_choice,
        use=use,
    )
    return _inference("Chat", request, inference.ChatResponse, Timeout.STREAM)


def embed(
    model: str,
    texts: Iterable[str],
    normalize: bool,
    truncate: bool,
    dimensions: int,
    use: inference.ModelUse | None,
) -> Call[inference.EmbedResponse]:
    request = inference.EmbedRequest(
        model=model, texts=texts, normalize=normalize, truncate=truncate, dimensions=dimensions, use=use
    )
    return _inference("Embed", request, inference.EmbedResponse, Timeout.LOADING)


def tokenize(model: str, text: str, add_special: bool) -> Call[inference.TokenizeResponse]:
    request = inference.TokenizeRequest(model=model, text=text, add_special=add_special)
    return _inference("Tokenize", request, inference.TokenizeResponse, Timeout.LOADING)
