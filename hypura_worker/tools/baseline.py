"""Stock llama.cpp by itself, to compare with (`python -m hypura_worker.tools.baseline`).

following_ids: what to go on with after the prompt, whatever is chosen, so that all compute the same.

bench ──stdin: one JSON object──► load, prompt, decode, as the plainest program would
      ◄──stdout: {"loaded": s} {"token": id, "seconds": s, "system": s} …   (seconds since the prompt was begun)
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from typing import Any

import llama_cpp

from hypura_worker import runtime
from hypura_worker.llama import log
from hypura_worker.llama.weights import LoadMode, load_files, type_number


def main() -> int:
    """0 after the last token; 1 and a line with "error" when the model cannot be loaded or run."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_bench, daemon=True).start()
    answer = runtime.claim_stdout()
    log.redirect()

    def say(**line: object) -> None:
        print(json.dumps(line), file=answer, flush=True)

    llama_cpp.llama_backend_init()
    began = time.monotonic()
    context = _context(asked)
    if context is None:
        say(error=f"llama.cpp could not load {asked['paths'][0]}: {log.last_errors()}")
        return 1
    say(loaded=time.monotonic() - began)
    chain = _chain(context, asked["temperature"], asked["seed"])
    began = time.monotonic()
    tokens = list(asked["prompt_ids"])
    following = asked["following_ids"]
    for number in range(asked["max_tokens"]):
        for start in range(0, len(tokens), asked["ubatch_tokens"]):
            part = tokens[start : start + asked["ubatch_tokens"]]
            array = (llama_cpp.llama_token * len(part))(*part)
            result = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(part)))
            if result != 0:
                say(error=f"llama_decode returned {result}")
                return 1
        chosen = llama_cpp.llama_sampler_sample(chain, context, -1)
        tokens = [following[number] if number < len(following) else chosen]
        times = os.times()
        say(token=chosen, seconds=time.monotonic() - began, system=times.system)
    return 0


def _context(asked: dict[str, Any]) -> Any:
    """The model's context; None when llama.cpp makes none."""
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = asked["gpu_layers"]
    params.load_mode = LoadMode.MMAP if asked["mmap"] else LoadMode.PLAIN
    params.use_extra_bufts = asked["extra_buffers"]
    model = load_files(asked["paths"], params)
    if model is None:
        return None
    made = llama_cpp.llama_context_default_params()
    made.n_ctx = asked["context_tokens"]
    made.n_batch = made.n_ubatch = asked["ubatch_tokens"]
    made.n_seq_max = made.n_outputs_max = 1
    made.n_threads, made.n_threads_batch = asked["threads"], asked["batch_threads"]
    made.type_k, made.type_v = type_number(asked["kv_type_k"]), type_number(asked["kv_type_v"])
    made.no_perf = True
    return llama_cpp.llama_init_from_model(model, made) or None


def _chain(context: Any, temperature: float, seed: int) -> Any:
    """As the worker's own with these values: the model's end tokens are passed over, so that all runs are as long."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(context))
    size = llama_cpp.llama_vocab_n_tokens(vocabulary)
    ends = [token for token in range(size) if llama_cpp.llama_vocab_is_eog(vocabulary, token)]
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    bias = (llama_cpp.llama_logit_bias * len(ends))(*(llama_cpp.llama_logit_bias(end, -math.inf) for end in ends))
    links = [llama_cpp.llama_sampler_init_logit_bias(size, len(ends), bias)]
    if temperature == 0:
        links.append(llama_cpp.llama_sampler_init_greedy())
    else:
        links += [llama_cpp.llama_sampler_init_temp(temperature), llama_cpp.llama_sampler_init_dist(seed)]
    for link in links:
        llama_cpp.llama_sampler_chain_add(chain, link)
    return chain


def _end_with_bench() -> None:
    """End when standard input does: its other end is the bench's."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
