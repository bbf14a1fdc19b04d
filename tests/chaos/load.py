"""Clients that ask all the time, and remember what became of each request."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from hypura.v1 import inference_pb2 as inference
from hypura_client.errors import DaemonError, HypuraError
from hypura_client.sync import Client
from tests.chaos.world import MODELS, World

PROMPTS = ("once upon a time", "the sea", "count to ten", "why is the sky blue", "a", "tell me of experts " * 8)
ANSWER_TOKENS = 24
DEADLINE_SECONDS = 150.0
"""A request must have ended by then: the stall rule, the longest wait for room, a load and an answer."""
BACKOFF_SECONDS = 0.05

Answers = Mapping[tuple[str, str], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request. began_seconds: since the start; error: empty for an answer; typed: whether it is the daemon's."""

    began_seconds: float
    model: str
    prompt: str
    seconds: float
    tokens: tuple[int, ...]
    error: str
    typed: bool


def ask(client: Client, model: str, prompt: str) -> tuple[int, ...]:
    """The greedy answer's tokens."""
    tokens: list[int] = []
    sampling = inference.Sampling(temperature=0)
    limits = inference.Limits(max_tokens=ANSWER_TOKENS, ignore_eos=True)
    with client.generate(model, prompt, sampling=sampling, limits=limits) as events:
        for event in events:
            tokens.extend(event.chunk.token_ids)
    return tuple(tokens)


def undisturbed(world: World) -> Answers:
    """What every model answers to every prompt when nothing happens."""
    answers = {}
    world.load_all()
    with world.client(DEADLINE_SECONDS) as client:
        for name, _, _ in MODELS:
            for prompt in PROMPTS:
                answers[name, prompt] = ask(client, name, prompt)
    return answers


class Load:
    """Threads that ask until they are told to stop."""

    def __init__(self, world: World, clients: int, seed: int) -> None:
        self._world = world
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []
        self._threads = [
            threading.Thread(target=self._run, args=(Random(seed + number),), daemon=True) for number in range(clients)
        ]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> tuple[list[Outcome], int]:
        """The outcomes, and how many clients still wait for one past every deadline."""
        self._ended.set()
        deadline = time.monotonic() + DEADLINE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            return list(self._outcomes), sum(thread.is_alive() for thread in self._threads)

    def _run(self, random: Random) -> None:
        with self._world.client(DEADLINE_SECONDS) as client:
            while not self._ended.is_set():
                model, prompt = random.choice(MODELS)[0], random.choice(PROMPTS)
                began = time.monotonic()
                tokens: tuple[int, ...] = ()
                error, typed = "", True
                try:
                    tokens = ask(client, model, prompt)
                except HypuraError as failure:
                    error, typed = f"{type(failure).__name__}: {failure}", isinstance(failure, DaemonError)
                seconds = time.monotonic() - began
                outcome = Outcome(began - self._began, model, prompt, seconds, tokens, error, typed)
                with self._lock:
                    self._outcomes.append(outcome)
                if error:
                    self._ended.wait(BACKOFF_SECONDS)
