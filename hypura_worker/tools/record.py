"""Records which experts a model routes to: `python -m hypura_worker.tools.record --tokens N --out FILE`.

    client ──stdin: length, Plan, length, prompt──► recorder ──► FILE (streaming/replacement/routing_trace.py)
           ◄──stdout: a RecordLine per token, and one at the end──

The model runs as its plan says, streamed or not: the recorder's callback runs before the
streamer's, so that it gets the chosen ids before they become slots. That costs speed, not tokens.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Callable, Sequence
from ctypes import c_bool, c_size_t, c_void_p
from pathlib import Path
from typing import TextIO

import hypura_worker.llama.library as library  # first: see there

# isort: split
import numpy as np
import numpy.typing as npt

from hypura.v1 import inference_pb2, placement_pb2
from hypura.v1.tools_pb2 import RecordDone, RecordLine
from hypura_worker import runtime
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.sampler import Sampler
from hypura_worker.errors import IncompatibleLibrary, LoadFailed, WorkerError
from hypura_worker.llama.context import BatchToken, Callbacks, Context, PassHook
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.replacement.routing_trace import HEADER

_MAX_INPUT_BYTES = 256 << 20
_MAX_TOKENS = 1_000_000
_PROMPT_TOKENS = 256
"""Enough to start from a real context; what counts in a recording is the decoding."""
_NODE = b"ffn_moe_weights-"
_EVALUATE = ctypes.CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)


Routed = Callable[[int, npt.NDArray[np.int32], npt.NDArray[np.float32]], None]
"""Called with a layer, its chosen expert ids and their gate weights, both [tokens, experts per token]."""


class RecordingHook:
    """Reports what every layer chose, then calls the streamer's own callback."""

    def __init__(self, inner: PassHook | None, routed: Routed) -> None:
        self._inner = inner
        self._routed = routed
        self._error: Exception | None = None
        self._evaluate = _EVALUATE(self._on_node)
        self._callbacks = inner.callbacks if inner is not None else Callbacks(0, 0, 0)
        self._inner_evaluate = _EVALUATE(self._callbacks.evaluate) if inner is not None else None
        self._get = library.ggml().ggml_backend_tensor_get
        self._get.restype, self._get.argtypes = None, [c_void_p, c_void_p, c_size_t, c_size_t]

    @property
    def callbacks(self) -> Callbacks:
        address = ctypes.cast(self._evaluate, c_void_p).value or 0
        return Callbacks(address, self._callbacks.abort, self._callbacks.context)

    def begin(self) -> None:
        self._error = None
        if self._inner is not None:
            self._inner.begin()

    def failure(self) -> Exception | None:
        return self._error or (self._inner.failure() if self._inner is not None else None)

    def _on_node(self, node: int, ask: bool, context: int | None) -> bool:
        layer = _layer_of(node)
        if layer is not None and not ask:
            try:
                ids = self._rows(library.describe(node).sources[1])
                self._routed(layer, ids, self._rows(node, tail=True).view(np.float32))
            except Exception as error:  # ctypes would print it and continue
                self._error = error
        wanted = self._inner_evaluate(node, ask, context) if self._inner_evaluate is not None else False
        return bool(wanted) or layer is not None or not ask

    def _rows(self, address: int | None, *, tail: bool = False) -> npt.NDArray[np.int32]:
        """[tokens, per token] of a tensor of 4-byte values; tail: its first dimension is 1 and left out."""
        if address is None:
            raise IncompatibleLibrary("a node of gate weights names no experts; install llama-cpp-python 0.3.36")
        tensor = library.describe(address)
        width, tokens, stride = tensor.ne[tail], tensor.ne[1 + tail], tensor.nb[1 + tail]
        rows = np.empty((tokens, width), np.int32)
        for token in range(tokens):
            self._get(address, rows[token].ctypes.data, token * stride, width * 4)
        return rows


def _layer_of(node: int) -> int | None:
    """The layer of a node that gathers the gate weights of the chosen experts, None for any other."""
    # Asked of every node: describing it all would take thirty times as long.
    name: bytes = library.ggml().ggml_get_name(node)
    number = name[len(_NODE) :] if name.startswith(_NODE) else b""
    return int(number) if number.isdigit() else None


class _Writer:
    """Writes what was routed, pass by pass."""

    def __init__(self, file: TextIO, expert_bytes: dict[int, int]) -> None:
        self._file, self._expert_bytes = file, expert_bytes
        self.phase, self.step, self.rows = 0, 0, 0
        self.begun = False  # loading may run a pass, too

    def routed(self, layer: int, ids: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]) -> None:
        if not self.begun:
            return
        size = self._expert_bytes.get(layer, 0)
        for token, (row, gates) in enumerate(zip(ids.tolist(), weights.tolist(), strict=True)):
            for slot, (expert, gate) in enumerate(zip(row, gates, strict=True)):
                self._file.write(f"0,{self.phase},{self.step + token},{layer},{slot},{expert},{gate:.6g},0,{size}\n")
                self.rows += 1


def record(plan: placement_pb2.Plan, prompt: str, tokens: int, file: TextIO, on_token: Callable[[int], None]) -> int:
    """Decode so many tokens after the prompt and write their routes; the number of choices written.

    on_token is called with the number of tokens decoded so far. Raises LoadFailed for a model without routed
    experts, and what a load or a pass raises.
    """
    writer = _Writer(file, _describe(plan, file))
    hook: list[RecordingHook] = []

    def watch(inner: PassHook | None) -> PassHook:
        hook.append(RecordingHook(inner, writer.routed))
        return hook[0]

    model = LlamaModel(plan, watch=watch)
    try:
        context, vocabulary = model.ready(), model.vocabulary
        sampling = Sampling.from_proto(inference_pb2.Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=1))
        limits = Limits.from_proto(inference_pb2.Limits(ignore_eos=True))
        sampler = Sampler(sampling, limits, vocabulary, context.size_tokens)
        try:
            ids = vocabulary.tokenize(prompt)[: min(_PROMPT_TOKENS, context.size_tokens - tokens)]
            if not ids:
                raise LoadFailed(f"{tokens} tokens leave no room for a prompt in a context of {context.size_tokens}")
            writer.begun = True
            last = _prefill(context, ids, model.pass_tokens, writer)
            writer.phase = 1
            for number in range(tokens):
                token, _ = sampler.choose(context.logits(last))
                context.decode([BatchToken(token, len(ids) + number, 0, True)])
                writer.step += 1
                last = 0
                on_token(number + 1)
        finally:
            sampler.close()
    finally:
        model.close()
    if not writer.rows:
        raise LoadFailed("this model routed to no experts; only mixtures of experts can be recorded")
    return writer.rows


def _prefill(context: Context, ids: Sequence[int], width: int, writer: _Writer) -> int:
    """Compute the prompt in passes of at most `width` tokens; the last token's place in its pass."""
    for start in range(0, len(ids), width):
        part = ids[start : start + width]
        context.decode([BatchToken(t, start + i, 0, start + i == len(ids) - 1) for i, t in enumerate(part)])
        writer.step += len(part)
    return (len(ids) - 1) % width


def _describe(plan: placement_pb2.Plan, file: TextIO) -> dict[int, int]:
    """Write the header of the trace; the bytes of one expert, by layer."""
    layers: dict[int, list[placement_pb2.TensorPlacement]] = {}
    for tensor in plan.tensors:
        if tensor.layer >= 0:
            layers.setdefault(tensor.layer, []).append(tensor)
    routed = [t for tensors in layers.values() for t in tensors if t.role == placement_pb2.TENSOR_ROLE_ROUTED_EXPERT]
    if not routed:
        raise LoadFailed("this model has no routed experts; only mixtures of experts can be recorded")
    experts = routed[0].shape[-1]
    file.write(f"# route_trace v1\n# model={plan.model} arch={plan.architecture} n_layer={max(layers) + 1} ")
    used = plan.experts.experts_per_token
    file.write(f"n_expert={experts}" + (f" n_expert_used={used}\n" if used else "\n"))
    sizes: dict[int, int] = {}
    for layer, tensors in sorted(layers.items()):
        whole = sum(t.extent.length_bytes for t in tensors)
        of_experts = sum(t.extent.length_bytes for t in tensors if t in routed)
        sizes[layer] = of_experts // experts
        file.write(f"# layer={layer} expert_bytes={sizes[layer]} dense_bytes={whole - of_experts}\n")
    file.write(HEADER + "\n")
    return sizes


def main(arguments: Sequence[str]) -> int:
    """A line per token, and one at the end; 1 and a line with an error when there is no trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if not 1 <= options.tokens <= _MAX_TOKENS:
        parser.error(f"--tokens must be 1 to {_MAX_TOKENS}, not {options.tokens}")
    plan = placement_pb2.Plan.FromString(runtime.read_message(_MAX_INPUT_BYTES, "hypuractl trace record"))
    prompt = runtime.read_message(_MAX_INPUT_BYTES, "hypuractl trace record").decode(errors="replace")
    runtime.configure_log("warning", plan.model)
    part = options.out.with_name(options.out.name + ".part")
    try:
        library.hook()
        with part.open("w", encoding="utf-8") as file:
            rows = record(plan, prompt, options.tokens, file, lambda n: runtime.write_line(RecordLine(tokens=n)))
        part.replace(options.out)
    except (WorkerError, OSError) as error:
        part.unlink(missing_ok=True)
        runtime.write_line(RecordLine(error=str(error)))
        return 1
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    runtime.write_line(RecordLine(done=RecordDone(choices=rows, tokens=options.tokens)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
