"""Protobuf messages of what the worker measured and generated."""

from __future__ import annotations

from hypura.v1 import inference_pb2, worker_pb2
from hypura_worker import runtime
from hypura_worker.engine.counters import EngineCounters, RequestCounters
from hypura_worker.engine.events import Chunk, Event, Finished, Logprob, Prefill
from hypura_worker.errors import EngineBroken
from hypura_worker.llama.vocabulary import Vocabulary
from hypura_worker.loaded_model import LlamaModel

_REASONS = {
    "stop": inference_pb2.FINISH_REASON_STOP,
    "length": inference_pb2.FINISH_REASON_LENGTH,
}


def loaded_model(model: LlamaModel, seconds: float, bytes_read: int) -> worker_pb2.LoadedModel:
    """What the daemon learns of a model that was loaded."""
    vocabulary, context, streamer = model.vocabulary, model.ready(), model.streamer
    least_bytes, most_bytes = model.memory_limits
    return worker_pb2.LoadedModel(
        load_seconds=seconds,
        bytes_read=bytes_read,
        rss_bytes=runtime.resident_bytes(),
        slots=streamer.places if streamer is not None else 0,
        slot_bytes=streamer.place_bytes if streamer is not None else 0,
        vocabulary_tokens=vocabulary.size,
        bos_text=vocabulary.text(vocabulary.bos),
        eos_text=vocabulary.text(vocabulary.eos),
        adds_bos=vocabulary.adds_bos,
        embedding_length=context.embedding_length,
        can_generate=context.generates,
        context_tokens=context.size_tokens,
        min_memory_limit_bytes=least_bytes,
        max_memory_limit_bytes=most_bytes,
        control_texts=[text.decode() for text in vocabulary.controls if _is_text(text)],
    )


def generate_response(event: Event, vocabulary: Vocabulary) -> worker_pb2.WorkerGenerateResponse:
    """The message of an event that is not an error."""
    match event:
        case Prefill(processed, total):
            return worker_pb2.WorkerGenerateResponse(
                prefill=inference_pb2.PrefillProgress(processed_tokens=processed, prompt_tokens=total)
            )
        case Chunk(text, tokens, logprobs):
            return worker_pb2.WorkerGenerateResponse(
                chunk=inference_pb2.TokenChunk(
                    text=text, token_ids=tokens, logprobs=[_logprobs(entry, vocabulary) for entry in logprobs]
                )
            )
        case Finished(reason, counters, seed, stop_string):
            return worker_pb2.WorkerGenerateResponse(
                finished=inference_pb2.Finished(
                    reason=_REASONS[reason], statistics=_request_statistics(counters, seed), stop_string=stop_string
                )
            )
    raise EngineBroken(f"the engine sent {event!r}")


def memory_statistics() -> worker_pb2.WorkerStatisticsResponse:
    """This process's memory: all that there is to say before a load."""
    return worker_pb2.WorkerStatisticsResponse(
        rss_bytes=runtime.resident_bytes(), peak_rss_bytes=runtime.peak_resident_bytes()
    )


def worker_statistics(counters: EngineCounters, model: LlamaModel) -> worker_pb2.WorkerStatisticsResponse:
    """Counters since the load, and this process's memory."""
    statistics = memory_statistics()
    statistics.active_requests = counters.active
    statistics.queued_requests = counters.queued
    statistics.finished_requests = counters.finished
    statistics.failed_requests = counters.failed
    statistics.prompt_tokens = counters.prompt_tokens
    statistics.output_tokens = counters.output_tokens
    statistics.forced_tokens = counters.forced_tokens
    statistics.passes = counters.passes
    statistics.forward_seconds = counters.forward_seconds
    statistics.bytes_read = counters.stream.bytes_read
    statistics.expert_hits = counters.stream.hits
    statistics.expert_misses = counters.stream.misses
    statistics.stall_seconds = counters.stream.stall_seconds
    statistics.prefetched_bytes = counters.stream.prefetched_bytes
    statistics.prefetched_used_bytes = counters.stream.prefetched_used_bytes
    if model.streamer is not None:
        statistics.slots = model.streamer.places
    return statistics


def _request_statistics(counters: RequestCounters, seed: int) -> inference_pb2.RequestStatistics:
    decode_seconds = max(0.0, counters.last_token - counters.first_token)
    # Tokens that were computed after the first: one a pass, and the forced ones.
    tokens = counters.decode_passes + counters.forced_tokens
    visited = counters.hits + counters.misses
    return inference_pb2.RequestStatistics(
        prompt_tokens=counters.prompt_tokens,
        cached_tokens=counters.cached_tokens,
        output_tokens=counters.output_tokens,
        forced_tokens=counters.forced_tokens,
        queue_seconds=counters.started - counters.arrived,
        prefill_seconds=max(0.0, counters.first_token - counters.started),
        decode_seconds=decode_seconds,
        ttft_seconds=max(0.0, counters.first_token - counters.arrived),
        tok_per_second=tokens / decode_seconds if decode_seconds else 0.0,
        hit_rate=counters.hits / visited if visited else 1.0,
        bytes_read_per_token=counters.decode_bytes / tokens if tokens else 0.0,
        stall_seconds_per_token=counters.stall_seconds / tokens if tokens else 0.0,
        prefill_bytes_read=counters.prefill_bytes,
        worker_peak_rss_bytes=runtime.peak_resident_bytes(),
        seed=seed,
    )


def _logprobs(entry: Logprob, vocabulary: Vocabulary) -> inference_pb2.TokenLogprobs:
    def message(token: int, logprob: float) -> inference_pb2.TokenLogprob:
        return inference_pb2.TokenLogprob(token_id=token, token=vocabulary.piece(token), logprob=logprob)

    return inference_pb2.TokenLogprobs(chosen=message(*entry.chosen), top=[message(*top) for top in entry.top])


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8: no user can write a token that is not."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
