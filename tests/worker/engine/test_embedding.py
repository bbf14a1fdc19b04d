"""Vectors of texts: pooled as the file says, over all of the text, whatever a pass holds and whatever is streamed."""

from __future__ import annotations

import ctypes
import queue
import shutil
import struct
from pathlib import Path

import llama_cpp  # before numpy
import numpy as np
import numpy.typing as npt
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_daemon.models.model import open_model
from hypura_daemon.planning.plan import LoadRequest, Mode
from hypura_daemon.planning.wire import plan_to_proto
from hypura_worker.engine.request import EmbedRequest
from hypura_worker.errors import InvalidRequest, LoadFailed
from hypura_worker.loaded_model import LlamaModel
from tests.budgets import planned
from tests.models.random_architectures import write_random_model
from tests.worker.conftest import Running, running
from tests.worker.plans import make_plan

MEAN, FIRST, LAST, RANK = 1, 2, 3, 4
UNSPECIFIED = 0xFFFFFFFF
"""LLAMA_POOLING_TYPE_UNSPECIFIED is -1, and llama.cpp's own writer saves it so."""
TEXT = [int(token) for token in np.random.default_rng(1).integers(0, 100, 100)]
_KEY, _CAUSAL = b"llama.pooling_type", b"llama.attention.causal"
_CLOSE = 1e-3
"""Of the largest value: K and V are halves, and a single token takes another way through attention than many."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "pooled.gguf"
    write_random_model("llama", False, path, layers=3, more={"pooling_type": 0, "attention.causal": True})
    return path


def _pooled(written: Path, folder: Path, pooling: int | None, *, causal: bool = True) -> Path:
    """The model with another pooling, or none in its metadata, and causal or not."""
    path = folder / "model.gguf"
    shutil.copy(written, path)
    content = bytearray(path.read_bytes())
    if pooling is None:
        place = content.index(_KEY)
        content[place : place + len(_KEY)] = _KEY[:-1] + b"X"
    else:
        struct.pack_into("<I", content, content.index(_KEY) + len(_KEY) + 4, pooling)
    content[content.index(_CAUSAL) + len(_CAUSAL) + 4] = causal
    path.write_bytes(content)
    return path


def _vector(engine: Running, text: list[int]) -> npt.NDArray[np.float32]:
    answer: queue.Queue[list[float] | Exception | None] = queue.Queue()
    engine.engine.submit(EmbedRequest([text], answer.put))
    found = answer.get(timeout=60)
    if isinstance(found, Exception):
        raise found
    return np.array(found, np.float32)


def _by_llama_cpp(path: Path, pooling: int) -> npt.NDArray[np.float32]:
    """The vector as llama.cpp pools it, in one pass."""
    model_params = llama_cpp.llama_model_default_params()
    model_params.use_extra_bufts = False
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 256, len(TEXT), len(TEXT)
    params.embeddings, params.pooling_type = True, pooling
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(TEXT), 0, 1)
    batch.n_tokens = len(TEXT)
    for i, token in enumerate(TEXT):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, True
    assert llama_cpp.llama_decode(context, batch) == 0
    pointer = llama_cpp.llama_get_embeddings_seq(context, 0)
    vector = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (256,)).copy()
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return vector


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pooling", [None, 0, MEAN, FIRST, LAST, 5, 77, UNSPECIFIED])
def test_vectors_are_pooled_as_the_file_says(pooling: int | None, causal: bool, written: Path, tmp_path: Path) -> None:
    """Seen: "unspecified" was taken for pooling: all tokens were outputs, and llama.cpp aborted the process."""
    path = _pooled(written, tmp_path, pooling, causal=causal)
    meant = pooling if pooling in (MEAN, FIRST, LAST) else LAST if causal else MEAN
    expected = _by_llama_cpp(path, meant)
    ubatch = 8 if causal else 128
    vectors = []
    for mode in (pb.MODE_RESIDENT, pb.MODE_DENSE_STREAMING):
        with running(make_plan(path, mode, ubatch_tokens=ubatch)) as engine:
            vectors.append(_vector(engine, TEXT))
            assert engine.model.ready().generates is causal
            if causal:
                assert len(engine.tokens([1, 2, 3], 4)) == 4
            else:
                with pytest.raises(InvalidRequest, match="embeds at most 128"):
                    _vector(engine, TEXT + TEXT)
            assert np.array_equal(_vector(engine, TEXT), vectors[-1])
    assert np.array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - expected).max() < _CLOSE * np.abs(expected).max()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pooling", [MEAN, LAST, UNSPECIFIED])
def test_exact_vectors_are_the_same_resident_and_streamed(
    pooling: int, causal: bool, written: Path, tmp_path: Path
) -> None:
    """Seen: 100 tokens were embedded when resident, and refused past 32 when streamed with --exact."""
    model = open_model(_pooled(written, tmp_path, pooling, causal=causal), "pooled")
    vectors = []
    for percent in (None, 60.0, 0.0):
        request = LoadRequest(memory_limit_bytes=2_000_000_000, exact=True, weight_cache_percent=percent)
        made = planned(model, request)
        assert (made.mode is Mode.RESIDENT) is (percent is None)
        with running(plan_to_proto(made)) as engine:
            vectors.append(_vector(engine, TEXT))
    assert np.array_equal(vectors[0], vectors[1]) and np.array_equal(vectors[0], vectors[2])


def test_a_model_that_ranks_texts_is_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="ranks texts"):
        LlamaModel(make_plan(_pooled(written, tmp_path, RANK), pb.MODE_RESIDENT))


@pytest.mark.parametrize("architecture", ["bert", "gemma-embedding"])
def test_an_encoder_that_says_nothing_is_pooled_by_the_mean(architecture: str, tmp_path: Path) -> None:
    """Seen: its last token was computed by itself, and nothing of the text was in the vector."""
    path = tmp_path / "model.gguf"
    write_random_model(architecture, False, path, layers=2, more={"attention.causal": False})
    expected = _by_llama_cpp(path, MEAN)
    with running(make_plan(path, pb.MODE_RESIDENT, ubatch_tokens=128)) as engine:
        found = _vector(engine, TEXT)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
