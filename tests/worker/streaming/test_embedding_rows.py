"""Embeddings that stay on the drive: a pass finds the right rows, few are in memory, and other uses are stopped."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.errors import LoadFailed, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.library import hook
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.embedding_rows import EmbeddingRows
from hypura_worker.streaming.reader import Alignment
from hypura_worker.streaming.streamed_tensors import StreamedTensor
from tests.models.random_architectures import write_random_model
from tests.worker.conftest import running
from tests.worker.plans import make_plan

PAGE = 4096
CACHE_BYTES = 16 << 10


def _data_of(tensor: int) -> int:
    """The address that the tensor was pointed at."""
    ne, nb, type_op = (ctypes.c_int64 * 4)(), (ctypes.c_uint64 * 4)(), (ctypes.c_int32 * 2)()
    pointers, name = (ctypes.c_void_p * 5)(), ctypes.c_char_p()
    hook().hypura_describe(tensor, ne, nb, type_op, pointers, ctypes.byref(name))
    return int(pointers[3] or 0)


@pytest.mark.parametrize("row_bytes", [96, 1152, 4096, 4608, 20_000])
@pytest.mark.parametrize("alignment", [512, 4096, 65_536])
def test_rows_are_where_llama_cpp_reads_them(tmp_path: Path, row_bytes: int, alignment: int) -> None:
    """500 passes of 1 to 40 tokens, from a tensor that begins within a page and ends with its file."""
    rng, rows = np.random.default_rng(row_bytes), 3000
    offset = 3 * PAGE + 160
    content = rng.integers(0, 256, offset + rows * row_bytes, np.uint8)
    path = tmp_path / "rows"
    path.write_bytes(content.tobytes())
    tensor = ctypes.create_string_buffer(hook().hypura_tensor_size())
    address = ctypes.addressof(tensor)
    placed = StreamedTensor(address, "token_embd.weight", -1, "", 0, (1, rows), 0, offset, rows * row_bytes)
    page = max(PAGE, alignment)
    cache_bytes = 80 * (row_bytes + 2 * page)
    arena, descriptor = Arena(), os.open(path, os.O_RDONLY)
    table = EmbeddingRows(arena, [placed], [descriptor], Alignment(alignment, 4), 4, cache_bytes)
    data, most = _data_of(address), 0
    assert data % 32 == offset % 32
    for number in range(500):
        # Words of one text, then of another: rows come again, and go.
        ids = (rng.integers(0, 100, rng.integers(1, 40)) * 7 + number // 100 * 400) % rows
        table.bring([int(i) for i in ids])
        for i in ids:
            start = offset + int(i) * row_bytes
            assert (
                ctypes.string_at(data + int(i) * row_bytes, row_bytes) == content[start : start + row_bytes].tobytes()
            )
        most = max(most, table.held_bytes)
    table.bring([0, rows - 1])
    assert ctypes.string_at(data + (rows - 1) * row_bytes, row_bytes) == content[-row_bytes:].tobytes()
    assert 0 < most <= cache_bytes
    read = table.bytes_read
    table.bring([0, rows - 1])
    assert table.bytes_read == read, "what is in memory is not read again"
    table.close()
    arena.free()
    os.close(descriptor)


@pytest.mark.parametrize("mode", [pb.MODE_EXPERT_STREAMING, pb.MODE_DENSE_STREAMING])
def test_answers_are_those_of_resident_embeddings(moe_model: Path, dense_model: Path, mode: pb.Mode) -> None:
    model = moe_model if mode == pb.MODE_EXPERT_STREAMING else dense_model
    prompts = [[3 + 7 * i, 5 + i, 60 - i] for i in range(6)]
    with running(make_plan(model, mode, slots=12, sequences=4)) as resident:
        expected = [resident.tokens(p, 24) for p in prompts]
    plan = make_plan(model, mode, slots=12, sequences=4, embedding_cache_bytes=CACHE_BYTES)
    assert any(t.role == pb.TENSOR_ROLE_EMBEDDING and t.tier == pb.TIER_NVME for t in plan.tensors)
    with running(plan) as by_row:
        answers = [by_row.ask(p, 24)[1] for p in prompts]
        for answer in answers:
            answer.wait()
        assert [answer.tokens for answer in answers] == expected


@pytest.mark.parametrize("mode", [pb.MODE_EXPERT_STREAMING, pb.MODE_DENSE_STREAMING])
def test_embeddings_that_are_the_output_too_are_refused(tmp_path: Path, mode: pb.Mode) -> None:
    """A plan that is wrong about them must not compute logits from rows that are not in memory."""
    path, moe = tmp_path / "tied.gguf", mode == pb.MODE_EXPERT_STREAMING
    write_random_model("qwen3moe" if moe else "llama", moe, path, layers=2, tied=True)
    plan = make_plan(path, mode, slots=12, embedding_cache_bytes=CACHE_BYTES)
    (embedding,) = (t for t in plan.tensors if t.name == "token_embd.weight")
    embedding.role, embedding.tier = pb.TENSOR_ROLE_EMBEDDING, pb.TIER_NVME
    with pytest.raises(LoadFailed, match="uses its embeddings in a way hypura does not know"):
        LlamaModel(plan)


def test_a_row_that_cannot_be_read_fails_its_request_alone(dense_model: Path, tmp_path: Path) -> None:
    """A second copy of the embeddings ends with the file in their middle: later tokens have no rows."""
    path = tmp_path / "hole.gguf"
    shutil.copy(dense_model, path)
    data = path.read_bytes()
    (known,) = (t for t in make_plan(path, pb.MODE_RESIDENT).tensors if t.name == "token_embd.weight")
    half = known.extent.length_bytes // 2
    with path.open("ab") as file:
        file.write(data[known.extent.offset_bytes : known.extent.offset_bytes + half])
    plan = make_plan(path, pb.MODE_DENSE_STREAMING, embedding_cache_bytes=CACHE_BYTES, direct=False, exact=False)
    (embedding,) = (t for t in plan.tensors if t.name == "token_embd.weight")
    embedding.extent.offset_bytes = len(data)
    last = int(embedding.shape[1]) - 1
    with running(plan) as engine:
        with pytest.raises(ReadFailed, match=r"token_embd.weight.*truncated"):
            engine.tokens([1, 2, last], 1)
        assert len(engine.tokens([1, 2, 3], 1)) == 1
        with pytest.raises(ReadFailed, match=r"token_embd.weight"):
            engine.tokens([last], 1)
        assert not engine.broken
