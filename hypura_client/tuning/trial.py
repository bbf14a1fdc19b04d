"""A campaign's runs through the daemon: each loads the model again with its settings, and continues the same page."""

from __future__ import annotations

import time
from dataclasses import fields

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura.v1 import placement_pb2 as placement
from hypura_client.bench.passage import PASSAGE
from hypura_client.channel import Stream
from hypura_client.errors import HypuraError, InvalidRequest, UnexpectedReply
from hypura_client.sync import Client
from hypura_client.tuning.axes import Settings
from hypura_client.tuning.decision import Sample

_PROMPT_TOKENS = 256
_LEAST_TOKENS = 8
_KEEP_ALIVE_SECONDS = 60.0
"""How long a model stays loaded that a killed campaign left behind."""


class Disturbed(HypuraError):
    """Something else changed between two runs, so they cannot be compared."""


class Trials:
    """Runs on one model: `prepare` once, `run` for each sample, `close` to unload the model."""

    def __init__(self, client: Client, model: str, options: control.LoadOptions, run_seconds: float) -> None:
        self._client = client
        self._model = model
        self._options = options
        self._run_seconds = run_seconds
        self._prompt_ids: tuple[int, ...] = ()
        self._plan: placement.Plan | None = None
        self.tokens = 0

    @property
    def prompt_tokens(self) -> int:
        return len(self._prompt_ids)

    def prepare(self) -> placement.Plan:
        """Loads the model as planned, and measures how many tokens a run can decode in its time. Returns the plan.

        The model's file and statistics are then in the same state as for every later run.
        """
        self._plan = self._load(Settings())
        room = self._plan.context_tokens
        passage = self._client.tokenize(self._model, PASSAGE, add_special=True).token_ids
        self._prompt_ids = tuple(passage[: min(_PROMPT_TOKENS, room // 2)])
        most = room - len(self._prompt_ids)
        if not self._prompt_ids or most < _LEAST_TOKENS:
            raise InvalidRequest(
                f"a context of {room} tokens is too short to tune in; ask for more with --context, such as 1024"
            )
        began, count = None, 0
        with self._generate(most) as events:
            for event in events:
                if event.WhichOneof("event") != "chunk":
                    continue
                began = began if began is not None else time.monotonic()
                count += len(event.chunk.token_ids)
                if time.monotonic() - began >= self._run_seconds:
                    break
        self.tokens = max(_LEAST_TOKENS, count)
        return self._plan

    def run(self, settings: Settings) -> Sample:
        """One run. Raises Disturbed, and the daemon's errors."""
        self._client.unload(self._model)  # Also drops the cached prompt, which would not be read again.
        plan = self._load(settings)
        if self._plan is None or _shape(plan) != _shape(self._plan):
            raise Disturbed(
                f"the plan of {self._model} changed between two runs, because the memory that can be spared did; "
                "unload other models, or give a limit with --memory"
            )
        tokens: list[int] = []
        finished: inference.Finished | None = None
        with self._generate(self.tokens) as events:
            for event in events:
                kind = event.WhichOneof("event")
                if kind == "chunk":
                    tokens += event.chunk.token_ids
                elif kind == "finished":
                    finished = event.finished
        if finished is None or not finished.statistics.tok_per_second or not finished.statistics.prefill_seconds:
            raise UnexpectedReply("a run ended without its figures; see `hypuractl status`")
        figures = finished.statistics
        return Sample(1 / figures.tok_per_second, figures.prefill_seconds, tuple(tokens))

    def close(self) -> None:
        """Unloads the model; the next request loads it with the settings that were kept."""
        self._client.unload(self._model)

    def _load(self, settings: Settings) -> placement.Plan:
        options = control.LoadOptions()
        options.CopyFrom(self._options)
        options.untuned = True
        options.keep_alive_seconds = _KEEP_ALIVE_SECONDS
        options.settings.CopyFrom(to_proto(settings))
        return self._client.load(self._model, options).plan

    def _generate(self, max_tokens: int) -> Stream[inference.GenerateResponse]:
        return self._client.generate(
            self._model,
            self._prompt_ids,
            sampling=inference.Sampling(temperature=1.0, top_k=0, top_p=1.0, repeat_penalty=1.0, seed=1),
            limits=inference.Limits(max_tokens=max_tokens, ignore_eos=True),
        )


def to_proto(settings: Settings) -> placement.RunSettings:
    """The settings as the daemon's message."""
    return placement.RunSettings(**{f.name: getattr(settings, f.name) for f in fields(Settings)})


def _shape(plan: placement.Plan) -> tuple[object, ...]:
    """What must be the same in all runs."""
    groups = tuple((group.slots, group.slot_bytes) for group in plan.experts.groups)
    rings = tuple(plan.dense.streamed_layers), plan.dense.ring_depth
    return plan.mode, plan.memory_limit_bytes, plan.ubatch_tokens, plan.context_tokens, groups, rings
