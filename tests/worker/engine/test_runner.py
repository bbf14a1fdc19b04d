"""The engine with several sequences: joining, leaving, prefixes, room, cancelling."""

from __future__ import annotations

import queue
from pathlib import Path

from hypura.v1 import inference_pb2, worker_pb2
from hypura.v1 import placement_pb2 as pb
from hypura_worker.engine.events import Chunk
from hypura_worker.engine.request import EmbedRequest
from tests.worker.conftest import Running, running
from tests.worker.plans import make_plan

PROMPTS = [[5, 9, 17, 33, 64, 12, 90, 3], [5, 9, 17, 33, 70, 71], [101, 22], [7] * 20]


def test_streaming_gives_the_tokens_of_the_resident_run(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT)) as resident:
        expected = [resident.tokens(p) for p in PROMPTS]
        sampled = [resident.tokens(p, temperature=1.0, seed=3) for p in PROMPTS]
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16)) as streamed:
        assert [streamed.tokens(p) for p in PROMPTS] == expected
        assert [streamed.tokens(p, temperature=1.0, seed=3) for p in PROMPTS] == sampled


def test_dense_streaming_gives_the_tokens_of_the_resident_run(dense_model: Path) -> None:
    with running(make_plan(dense_model, pb.MODE_RESIDENT)) as resident:
        expected = [resident.tokens(p) for p in PROMPTS]
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=2, pinned=(1, 4))
    with running(plan) as streamed:
        assert [streamed.tokens(p) for p in PROMPTS] == expected
        assert streamed.engine.counters.stream.bytes_read > 0


def test_a_new_request_continues_from_the_longest_common_prefix(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16, sequences=2, exact=False)
    with running(plan) as engine:
        first = engine.tokens(PROMPTS[0], 4)
        engine.tokens(PROMPTS[2], 4)
        _, answer = engine.ask([*PROMPTS[0], *first, 44, 45], 4)
        costs = answer.wait().counters
        # The last generated token was never computed, so its KV is not there.
        assert costs.cached_tokens == len(PROMPTS[0]) + len(first) - 1
        assert costs.prompt_tokens == len(PROMPTS[0]) + len(first) + 2


def test_the_same_prompt_again_computes_its_last_token_anew(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT, exact=False)) as engine:
        once = engine.tokens(PROMPTS[3])
        _, answer = engine.ask(PROMPTS[3])
        assert answer.wait().counters.cached_tokens == len(PROMPTS[3]) - 1
        assert answer.tokens == once


def test_exact_never_reuses_a_prefix(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT, exact=True)) as engine:
        engine.tokens(PROMPTS[0])
        _, answer = engine.ask(PROMPTS[0])
        assert answer.wait().counters.cached_tokens == 0


def test_requests_join_and_leave_one_batch_loop(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16, sequences=3, exact=False)
    with running(plan) as engine:
        answers = [engine.ask(p, 6 + 5 * i)[1] for i, p in enumerate(PROMPTS)]
        finished = [answer.wait() for answer in answers]
        assert [f.counters.output_tokens for f in finished] == [6, 11, 16, 21]
        # Sharing passes is the point: one by one they would take the sum.
        assert engine.engine.counters.passes < 6 + 11 + 16 + 21


def test_more_work_than_the_context_holds_is_finished_all_the_same(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_RESIDENT, sequences=4, context_tokens=256, exact=False)
    with running(plan) as engine:
        answers = [engine.ask([10 + i] * 60, 120)[1] for i in range(5)]
        assert [answer.wait().counters.output_tokens for answer in answers] == [120] * 5


def test_the_answer_ends_where_the_context_does(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT, context_tokens=256)) as engine:
        _, answer = engine.ask([4] * 200, 1000)
        finished = answer.wait()
        assert finished.reason == "length"
        assert finished.counters.output_tokens == 256 - 200


def test_cancel_ends_a_request_and_frees_its_sequence(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16, sequences=1, exact=False)
    with running(plan) as engine:
        engine.model.slow_drive(5)
        request, answer = engine.ask(PROMPTS[0], 1000)
        while not isinstance(answer.events.get(timeout=60), Chunk):
            pass
        engine.engine.cancel(request)
        engine.model.slow_drive(0)
        assert len(engine.tokens(PROMPTS[1], 3)) == 3
        made = engine.engine.counters.output_tokens
        assert made < 200, "the cancelled request continued"


def test_max_tokens_0_only_processes_the_prompt(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT)) as engine:
        _, answer = engine.ask(PROMPTS[0], 0)
        finished = answer.wait()
        assert (finished.reason, finished.counters.output_tokens, answer.tokens) == ("length", 0, [])


def test_more_sequences_than_a_pass_has_tokens(moe_model: Path) -> None:
    """llama.cpp aborted when it was given room for fewer outputs than sequences."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=4, sequences=4, ubatch_tokens=2, exact=False)
    with running(plan) as engine:
        answers = [engine.ask(p, 5)[1] for p in PROMPTS]
        assert [len(answer.tokens) for answer in answers if answer.wait()] == [5] * 4


def test_two_answers_outgrow_the_context_one_token_a_pass(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_RESIDENT, sequences=2, ubatch_tokens=1, context_tokens=256, exact=False)
    with running(plan) as engine:
        answers = [engine.ask([10 + i] * 100, 120)[1] for i in range(2)]
        assert [answer.wait().counters.output_tokens for answer in answers] == [120, 120]
        assert not engine.broken


def test_a_common_beginning_is_copied_and_the_other_conversation_stays(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16, sequences=3, exact=False)
    shared, first, second = list(range(40, 60)), list(range(60, 100)), [7, 8, 9]
    with running(plan) as engine:
        alone = engine.tokens(shared + second, 6)
    with running(plan) as engine:
        engine.tokens(shared + first, 4)
        _, answer = engine.ask(shared + second, 6)
        assert answer.wait().counters.cached_tokens == len(shared)
        assert answer.tokens == alone
        _, again = engine.ask(shared + first, 4)
        assert again.wait().counters.cached_tokens >= len(shared + first) - 1


def test_penalties_change_what_is_chosen(moe_model: Path) -> None:
    """Seen: a penalty of any kind ended the engine."""
    with running(make_plan(moe_model, pb.MODE_RESIDENT)) as engine:
        free = engine.tokens(PROMPTS[0], 40)
        held = engine.tokens(PROMPTS[0], 40, repeat_penalty=50.0, presence_penalty=5.0, repeat_last_n=-1)
        assert len(set(held)) == len(held), "every token only once"
        assert held != free
        assert len(engine.tokens(PROMPTS[0], 4, frequency_penalty=1.0, repeat_last_n=2**31 - 1)) == 4
        assert not engine.broken


def test_a_grammar_ends_the_answer_whatever_ignores_end_tokens(moe_model: Path) -> None:
    """Seen: accepting what the finished grammar forbids ended the process."""
    limits = inference_pb2.Limits(max_tokens=20, ignore_eos=True)
    with running(make_plan(moe_model, pb.MODE_RESIDENT)) as engine:
        _, answer = engine.ask_with(PROMPTS[0], limits, worker_pb2.Constraint(gbnf='root ::= "1" "2"'))
        assert answer.wait().reason == "stop"
        assert answer.text == "12"
        assert not engine.broken
        assert len(engine.tokens(PROMPTS[0], 3)) == 3


def test_the_largest_seed_is_a_seed(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT)) as engine:
        answers = [engine.tokens(PROMPTS[0], 12, temperature=2.0, seed=2**32 - 1) for _ in range(2)]
        assert answers[0] == answers[1]


def test_embedding_leaves_idle_conversations_alone(moe_model: Path) -> None:
    """Seen: each text dropped the KV of all of them."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16, sequences=3, exact=False)
    with running(plan) as engine:
        first, second = list(range(40, 60)), list(range(70, 90))
        answers = [(prompt, engine.tokens(prompt, 4)) for prompt in (first, second)]
        assert embedded(engine, [[1, 2, 3], [4, 5]]) == [256, 256]
        for prompt, tokens in answers:
            _, again = engine.ask([*prompt, *tokens, 7], 2)
            assert again.wait().counters.cached_tokens >= len(prompt)


def test_embedding_takes_only_the_room_it_needs(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_RESIDENT, sequences=4, context_tokens=256, exact=False)
    with running(plan) as engine:
        prompts = [[10 + n] * 60 for n in range(3)]
        for prompt in prompts:
            engine.tokens(prompt, 1)
        assert embedded(engine, [[1] * 100]) == [256]
        held = [engine.ask([*prompt, 7], 1)[1].wait().counters.cached_tokens for prompt in (*prompts[1:], prompts[0])]
        assert held == [60, 60, 0], "the one that was not used for longest went"


def embedded(engine: Running, texts: list[list[int]]) -> list[int]:
    """Embed the texts; the lengths of their vectors."""
    answers: queue.Queue[object] = queue.Queue()
    engine.engine.submit(EmbedRequest(texts, answers.put))
    lengths = []
    while (vector := answers.get(timeout=60)) is not None:
        assert isinstance(vector, list), vector
        lengths.append(len(vector))
    return lengths


def test_embedding_a_long_list_can_be_cancelled_between_texts(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT, exact=False)) as engine:
        done: list[object] = []
        request = EmbedRequest([[1, 2, 3]] * 3000, done.append)
        engine.engine.submit(request)
        engine.engine.cancel(request)
        assert len(engine.tokens(PROMPTS[0], 3)) == 3
        assert None not in done and request.embedded < 3000
