"""Runs of a campaign, through the daemon: the model loaded anew with a run's settings, the same page continued."""

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
"""Of a model that a killed campaign leaves behind."""


class Disturbed(HypuraError):
    """Something else changed between two runs, so that they cannot be compared."""


class Trials:
    """`prepare`, then runs, then `close`, which unloads the model."""

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
        """Load it as the planner says, and see how many tokens a run may decode in its time; the plan.

        The model's file and statistics are then as every later run finds them.
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
        with self._ask(most) as events:
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
        self._client.unload(self._model)  # also forgets the prompt, which would not be read again
        plan = self._load(settings)
        if self._plan is None or _shape(plan) != _shape(self._plan):
            raise Disturbed(
                f"the plan of {self._model} changed between two runs, as the memory that can be spared did; "
                "unload other models, or say how much it may take with --memory"
            )
        tokens: list[int] = []
        finished: inference.Finished | None = None
        with self._ask(self.tokens) as events:
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
        """Unload the model: the next request loads it as it is kept."""
        self._client.unload(self._model)

    def _load(self, settings: Settings) -> placement.Plan:
        options = control.LoadOptions()
        options.CopyFrom(self._options)
        options.untuned = True
        options.keep_alive_seconds = _KEEP_ALIVE_SECONDS
        options.settings.CopyFrom(to_proto(settings))
        return self._client.load(self._model, options).plan

    def _ask(self, max_tokens: int) -> Stream[inference.GenerateResponse]:
        return self._client.generate(
            self._model,
            self._prompt_ids,
            sampling=inference.Sampling(temperature=1.0, top_k=0, top_p=1.0, repeat_penalty=1.0, seed=1),
            limits=inference.Limits(max_tokens=max_tokens, ignore_eos=True),
        )


def to_proto(settings: Settings) -> placement.RunSettings:
    """The message of some settings."""
    return placement.RunSettings(**{f.name: getattr(settings, f.name) for f in fields(Settings)})


def _shape(plan: placement.Plan) -> tuple[object, ...]:
    """What must be the same in all runs."""
    groups = tuple((group.slots, group.slot_bytes) for group in plan.experts.groups)
    rings = tuple(plan.dense.streamed_layers), plan.dense.ring_depth
    return plan.mode, plan.memory_limit_bytes, plan.ubatch_tokens, plan.context_tokens, groups, rings
