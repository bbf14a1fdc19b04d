"""Damages a GGUF header in many ways and reads each result: none may crash, hang or take much memory.

    python tests/fuzz_headers.py [--count 1000] [--seed 1] [FILE]

Without FILE a small model made by the gguf package is damaged. `mutations` is for other scripts too,
such as one that lets a running daemon describe each file.
"""

import argparse
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

HANG_SECONDS = 2.0
START_SECONDS = 30.0
MEMORY_BYTES = 200_000_000
_NUMBERS = (0, 1, 2, 3, 4, 9, 31, 255, 65_535, 1 << 31, (1 << 32) - 1, 1 << 61, (1 << 63) - 1, (1 << 64) - 1)


def mutations(header_bytes: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies, always the same for a seed: one to four of flips, numbers put in, cuts, extensions."""
    source = random.Random(seed)
    ways = (_flip, _flip, _put_number, _put_number, _cut, _extend, _remove)
    for _ in range(count):
        damaged = bytearray(header_bytes)
        for _ in range(source.randint(1, 4)):
            source.choice(ways)(damaged, source)
        yield bytes(damaged)


def _at(damaged: bytearray, source: random.Random) -> int:
    """A position: half of the time near the start, where the counts and the first keys are."""
    return source.randrange(min(len(damaged), 400) if source.random() < 0.5 else len(damaged)) if damaged else 0


def _flip(damaged: bytearray, source: random.Random) -> None:
    if damaged:
        damaged[_at(damaged, source)] ^= 1 << source.randrange(8)


def _put_number(damaged: bytearray, source: random.Random) -> None:
    at, number = _at(damaged, source), source.choice(_NUMBERS)
    new = struct.pack("<Q", number)[: source.choice((4, 8))]
    damaged[at : at + len(new)] = new


def _cut(damaged: bytearray, source: random.Random) -> None:
    del damaged[_at(damaged, source) :]


def _extend(damaged: bytearray, source: random.Random) -> None:
    at = _at(damaged, source)
    damaged[at:at] = source.randbytes(source.randint(1, 64))


def _remove(damaged: bytearray, source: random.Random) -> None:
    at = _at(damaged, source)
    del damaged[at : at + source.randint(1, 64)]


def sample_model(path: Path) -> None:
    """Write a small valid model with the gguf package: a vocabulary, experts, arrays of several kinds."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "qwen3moe")
    writer.add_block_count(2)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count([4, 4])
    writer.add_head_count_kv(2)
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{number}" for number in range(2000)])
    writer.add_token_types([1] * 2000)
    writer.add_chat_template("{{ messages }}")
    for layer in range(2):
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.zeros((4, 32, 64), np.float32))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(64, np.float32))
    writer.add_tensor("token_embd.weight", np.zeros((2000, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def split_header(path: Path) -> tuple[bytes, int]:
    """A valid file's header, and how many bytes of weights follow it."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from hypura_daemon.models.gguf.header import read_header

    found = read_header(path)
    header_bytes = min((tensor.offset_bytes for tensor in found.tensors), default=found.file_size_bytes)
    with path.open("rb") as stream:
        return stream.read(header_bytes), found.file_size_bytes - header_bytes


def _serve(connection: Connection) -> None:
    """In the child: read each file that is named, and say what came of it and the peak memory."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from hypura_daemon.errors import ModelFileError
    from hypura_daemon.models.gguf.header import read_header
    from hypura_daemon.models.model import open_model

    connection.send(("ready", 0))
    while path := connection.recv():
        outcomes = []
        readers: tuple[Callable[[Path], object], ...] = (read_header, lambda path: open_model(path, "fuzzed"))
        for reader in readers:
            try:
                reader(path)
                outcomes.append("read")
            except ModelFileError:
                outcomes.append("refused")
            except Exception as error:
                outcomes.append(f"{type(error).__name__}: {error}")
        unit = 1 if sys.platform == "darwin" else 1024
        connection.send((outcomes[0] if outcomes[0] not in ("read", "refused") else outcomes[1],
                         resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit))  # fmt: skip


class Child:
    """A process that reads files, begun again when it dies or hangs."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(START_SECONDS):
            raise RuntimeError(f"the reading process did not start within {START_SECONDS:g} s")
        self._connection.recv()

    def read(self, path: Path) -> tuple[str, int]:
        """What came of it (read, refused, or what went wrong), and the peak memory in bytes."""
        self._connection.send(path)
        if not self._connection.poll(HANG_SECONDS):
            return f"still reading after {HANG_SECONDS:g} s", 0
        try:
            outcome, peak_bytes = self._connection.recv()
        except EOFError:
            self._process.join()
            return f"the process died with exit code {self._process.exitcode}", 0
        return outcome, peak_bytes

    def end(self) -> None:
        """Stop the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def fuzz(original: Path, count: int, seed: int, folder: Path) -> int:
    """Read `count` damaged copies; prints each failure and a summary. Returns the number of failures."""
    header, data_bytes = split_header(original)
    tally: dict[str, int] = {}
    failures = peak_bytes = 0
    slowest_seconds = 0.0
    child = Child()
    try:
        for number, content in enumerate(mutations(header, count, seed)):
            path = folder / "damaged.gguf"
            path.write_bytes(content)
            os.truncate(path, len(content) + data_bytes)  # Weights take no room: the file is sparse there.
            begin = time.monotonic()
            outcome, bytes_now = child.read(path)
            slowest_seconds = max(slowest_seconds, time.monotonic() - begin)
            peak_bytes = max(peak_bytes, bytes_now)
            if bytes_now > MEMORY_BYTES:
                outcome = f"took {bytes_now} bytes of memory"
            if outcome in ("read", "refused"):
                tally[outcome] = tally.get(outcome, 0) + 1
                continue
            failures += 1
            kept = path.rename(Path(tempfile.gettempdir()) / f"hypura-fuzz-{seed}-{number}.gguf")
            print(f"{kept}: {outcome}")
            child.end()
            child = Child()
    finally:
        child.end()
    told = ", ".join(f"{amount} {outcome}" for outcome, amount in sorted(tally.items()))
    print(f"{count} files: {told}, {failures} failed; peak {peak_bytes / 1e6:.0f} MB, slowest {slowest_seconds:.3f} s")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hypura-fuzz-") as name:
        original = arguments.file or Path(name) / "original.gguf"
        if arguments.file is None:
            sample_model(original)
        return 1 if fuzz(original, arguments.count, arguments.seed, Path(name)) else 0


if __name__ == "__main__":
    sys.exit(main())
