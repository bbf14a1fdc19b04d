"""Runs stock llama.cpp by itself, to compare hypura with: `python -m hypura_worker.tools.baseline`.

bench ──stdin: BaselineRequest──► load, prompt, decode, as the plainest program would
      ◄──stdout: a BaselineLine when the model is loaded, and for each token
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from typing import Any

import llama_cpp

from hypura.json_lines import from_line
from hypura.v1.tools_pb2 import BaselineLine, BaselineRequest, BaselineToken
from hypura_worker import runtime
from hypura_worker.llama import log
from hypura_worker.llama.weights import LoadMode, load_files, type_number


def main() -> int:
    """0 after the last token; 1 and a line with an error when the model cannot be loaded or run."""
    request = from_line(BaselineRequest, sys.stdin.readline())
    threading.Thread(target=_end_with_bench, daemon=True).start()
    answer = runtime.claim_stdout()
    log.redirect()
    llama_cpp.llama_backend_init()
    started = time.monotonic()
    context = _make_context(request)
    if context is None:
        runtime.write_line(
            BaselineLine(error=f"llama.cpp could not load {request.paths[0]}: {log.last_errors()}"), answer
        )
        return 1
    runtime.write_line(BaselineLine(load_seconds=time.monotonic() - started), answer)
    chain = _make_chain(context, request.temperature, request.seed)
    started = time.monotonic()
    tokens, following = list(request.prompt_ids), list(request.following_ids)
    for number in range(request.max_tokens):
        for start in range(0, len(tokens), request.ubatch_tokens):
            part = tokens[start : start + request.ubatch_tokens]
            array = (llama_cpp.llama_token * len(part))(*part)
            result = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(part)))
            if result != 0:
                runtime.write_line(BaselineLine(error=f"llama_decode returned {result}"), answer)
                return 1
        chosen = llama_cpp.llama_sampler_sample(chain, context, -1)
        tokens = [following[number] if number < len(following) else chosen]
        system_seconds = os.times().system
        token = BaselineToken(id=chosen, seconds=time.monotonic() - started, system_seconds=system_seconds)
        runtime.write_line(BaselineLine(token=token), answer)
    return 0


def _make_context(request: BaselineRequest) -> Any:
    """The model's context; None when llama.cpp refuses it."""
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = request.gpu_layers
    params.load_mode = LoadMode.MMAP if request.mmap else LoadMode.PLAIN
    params.use_extra_bufts = request.extra_buffers
    model = load_files(request.paths, params)
    if model is None:
        return None
    context_params = llama_cpp.llama_context_default_params()
    context_params.n_ctx = request.context_tokens
    context_params.n_batch = context_params.n_ubatch = request.ubatch_tokens
    context_params.n_seq_max = context_params.n_outputs_max = 1
    context_params.n_threads, context_params.n_threads_batch = request.threads, request.batch_threads
    context_params.type_k, context_params.type_v = type_number(request.kv_type_k), type_number(request.kv_type_v)
    context_params.no_perf = True
    return llama_cpp.llama_init_from_model(model, context_params) or None


def _make_chain(context: Any, temperature: float, seed: int) -> Any:
    """The sampler chain as the worker makes it; without end tokens, so that all runs are equally long."""
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
    """End this process when standard input closes: its other end is held by the bench."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
