"""A model's file that changes while it answers: no token of other weights is ever sent."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.engine.request import EmbedRequest
from hypura_worker.errors import ModelFileChanged
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.model_files import ModelFiles
from tests.models.random_architectures import write_random_model
from tests.worker.conftest import Running, running
from tests.worker.plans import make_plan

PROMPT, TOKENS, BEFORE = [5, 9, 17, 33], 12, 5
ROWS_BYTES = 16 << 10
Fault = Callable[[Path, bytes], None]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, bytes]:
    """By "is a mixture": the fixtures' models with other weights, of the same size."""
    folder = tmp_path_factory.mktemp("others")
    write_random_model("qwen3moe", True, folder / "moe.gguf", layers=4, seed=2)
    write_random_model("llama", False, folder / "dense.gguf", layers=6, seed=2)
    return {True: (folder / "moe.gguf").read_bytes(), False: (folder / "dense.gguf").read_bytes()}


def in_place(path: Path, other: bytes) -> None:
    with path.open("r+b") as file:
        file.write(other)


def in_place_and_dated_back(path: Path, other: bytes) -> None:
    """As rsync --inplace --times and cp --preserve do."""
    before = path.stat()
    in_place(path, other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncated(path: Path, other: bytes) -> None:
    os.truncate(path, len(other) // 2)


def replaced(path: Path, other: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(other)
    new.replace(path)


def deleted(path: Path, other: bytes) -> None:
    path.unlink()


def renamed(path: Path, other: bytes) -> None:
    path.rename(path.with_suffix(".old"))


def made_read_only(path: Path, other: bytes) -> None:
    path.chmod(0o400)


def linked(path: Path, other: bytes) -> None:
    path.with_suffix(".link").hardlink_to(path)


def plan_of(path: Path, kind: str) -> pb.Plan:
    match kind:
        case "experts":
            return make_plan(path, pb.MODE_EXPERT_STREAMING, slots=8, ubatch_tokens=1, exact=False)
        case "layers":
            return make_plan(path, pb.MODE_DENSE_STREAMING, everything=True, exact=False)
        case "rows":
            return make_plan(
                path, pb.MODE_DENSE_STREAMING, ring_depth=1, embedding_cache_bytes=ROWS_BYTES, exact=False,
                kept=lambda name: not name.startswith("blk.0.ffn_up"), everything=True,
            )  # fmt: skip
        case "mmap":
            return make_plan(path, pb.MODE_MMAP, exact=False)
    raise ValueError(kind)


def _planned(path: Path, modified_ns: int) -> pb.ModelFile:
    status = path.stat()
    return pb.ModelFile(
        path=str(path), size_bytes=status.st_size, modified_nanoseconds=modified_ns, inode=status.st_ino
    )


def in_pass(engine: Running, fault: Callable[[], None]) -> None:
    """Have the fault happen within the engine's pass number BEFORE + 1, before anything is read for it."""
    context = engine.model.ready()
    decode, passes = context.decode, iter(range(1000))

    def decoding(tokens: object) -> None:
        if next(passes) == BEFORE:
            fault()
        decode(tokens)  # type: ignore[arg-type]

    context.decode = decoding  # type: ignore[method-assign]


def check_no_token_of_the_fault(path: Path, kind: str, fault: Callable[[], None], error: str) -> None:
    """The fault happens in the middle of an answer: what was sent until then is right, and nothing is sent after it."""
    with running(plan_of(path, kind)) as engine:
        expected = engine.tokens(PROMPT, TOKENS)
    with running(plan_of(path, kind)) as engine:
        in_pass(engine, fault)
        _, answer = engine.ask(PROMPT, TOKENS)
        with pytest.raises(ModelFileChanged, match=error):
            answer.wait()
        assert len(engine.broken) == 1
        assert 0 < len(answer.tokens) < TOKENS, "the fault must come in the middle"
        assert answer.tokens == expected[: len(answer.tokens)]


KINDS = ["experts", "layers", "rows", "mmap"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [in_place, in_place_and_dated_back])
def test_a_file_overwritten_during_a_pass_gives_no_token(
    moe_model: Path, dense_model: Path, others: dict[bool, bytes], tmp_path: Path, kind: str, fault: Fault
) -> None:
    """Seen: one token of the new weights, and then ModelFileChanged."""
    path = tmp_path / "model.gguf"
    moe = kind == "experts"
    shutil.copy(moe_model if moe else dense_model, path)
    check_no_token_of_the_fault(path, kind, lambda: fault(path, others[moe]), "changed since it was planned")


@pytest.mark.parametrize("kind", ["experts", "layers", "rows"])
def test_a_file_truncated_during_a_pass_gives_no_token(
    moe_model: Path, dense_model: Path, others: dict[bool, bytes], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "model.gguf"
    moe = kind == "experts"
    shutil.copy(moe_model if moe else dense_model, path)
    check_no_token_of_the_fault(path, kind, lambda: truncated(path, others[moe]), "now")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [replaced, deleted, renamed, made_read_only, linked])
def test_a_change_that_keeps_the_bytes_is_not_a_change(
    moe_model: Path, dense_model: Path, others: dict[bool, bytes], tmp_path: Path, kind: str, change: Fault
) -> None:
    """The descriptor keeps the file that was planned; answers continue."""
    moe = kind == "experts"
    path = tmp_path / "model.gguf"
    shutil.copy(moe_model if moe else dense_model, path)
    with running(plan_of(path, kind)) as engine:
        expected = engine.tokens(PROMPT, TOKENS)
        in_pass(engine, lambda: change(path, others[moe]))
        assert engine.tokens(PROMPT, TOKENS) == expected
        assert engine.tokens(PROMPT, TOKENS) == expected
        assert not engine.broken


def test_no_vector_of_other_weights(dense_model: Path, others: dict[bool, bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    shutil.copy(dense_model, path)
    with running(plan_of(path, "layers")) as engine:
        in_pass(engine, lambda: in_place(path, others[False]))
        done: list[object] = []
        engine.engine.submit(EmbedRequest([[1, 2, 3]] * 100, done.append))
        engine.engine._thread.join(60)
        *vectors, error = done
        assert isinstance(error, ModelFileChanged)
        assert 0 < len(vectors) < 100 and all(vector == vectors[0] for vector in vectors)


def test_changes_within_one_tick_of_the_clock_have_different_stamps(tmp_path: Path) -> None:
    """A file that is opened right after it was written: a second write in the same tick would not move its stamp."""
    path = tmp_path / "file"
    for _ in range(200):
        path.write_bytes(b"before")
        status = path.stat()
        planned = pb.ModelFile(
            path=str(path), size_bytes=6, modified_nanoseconds=status.st_mtime_ns, inode=status.st_ino
        )
        with ModelFiles([planned], direct=False) as opened:
            opened.check()
            path.write_bytes(b"after!")
            with pytest.raises(ModelFileChanged):
                opened.check()


def test_whole_seconds_are_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT and some network file systems keep whole seconds: what was changed in this one must age first."""
    stamp, clock = 1_700_000_000 * 10**9, iter(range(10**12))
    slept: list[float] = []
    real = os.fstat

    class Whole:
        def __init__(self, status: os.stat_result) -> None:
            self.st_size, self.st_ino, self.st_nlink = status.st_size, status.st_ino, status.st_nlink
            self.st_mode, self.st_uid, self.st_gid = status.st_mode, status.st_uid, status.st_gid
            self.st_mtime_ns = self.st_ctime_ns = stamp

    monkeypatch.setattr(os, "fstat", lambda descriptor: Whole(real(descriptor)))
    monkeypatch.setattr(time, "time_ns", lambda: stamp + 5 * 10**8 + int(sum(slept) * 10**9) + next(clock))
    monkeypatch.setattr(time, "sleep", slept.append)
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    planned = _planned(path, stamp)
    with ModelFiles([planned], direct=False):
        assert 1.5 <= sum(slept) < 1.6


def test_a_file_from_the_future_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock was set back."""
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    planned, real = _planned(path, path.stat().st_mtime_ns), time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
    began = time.monotonic()
    ModelFiles([planned], direct=False).close()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("fault", [in_place, replaced, deleted])
def test_a_file_that_changes_while_it_is_loaded_is_refused(
    dense_model: Path, others: dict[bool, bytes], tmp_path: Path, fault: Fault
) -> None:
    """Resident weights would be those of another file for as long as the model is loaded."""
    path = tmp_path / "model.gguf"
    shutil.copy(dense_model, path)
    shares: Iterator[int] = iter(range(1000))

    def progress(share: float) -> None:
        if next(shares) == 0:
            fault(path, others[False])

    with pytest.raises(ModelFileChanged, match="changed"):
        LlamaModel(make_plan(path, pb.MODE_RESIDENT), progress)
