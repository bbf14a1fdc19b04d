"""The compiled hook's own tests in C: reads that are cancelled and promoted, experts that are replaced, whole passes.

They are compiled here, with the hook's sources, and run without llama.cpp or a model. `make sanitize` runs them with
AddressSanitizer and UndefinedBehaviorSanitizer, and with ThreadSanitizer, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "hook"
SOURCES = Path(__file__).parents[3] / "hypura_worker" / "llama" / "csrc"
LINKED = {
    "test_dense": ("dense", "kv"),
    "test_reader": (),
    "test_slots": ("slots",),
    "test_experts": ("experts", "kv", "prediction", "prefetch", "products", "routers", "slots"),
}
"""Sources that each program is linked with; reader.c and arena.c are included by gated_drive.h and fake_ggml.h."""
FLAGS = ("-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-pthread")
SANITIZERS = {
    "plain": (),
    "address-undefined": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread", "-DHYPURA_NO_CLONES"),
}
RUN_SECONDS = 60


def test_every_program_is_known() -> None:
    assert sorted(LINKED) == sorted(path.stem for path in TESTS.glob("test_*.c"))


@pytest.mark.parametrize(
    "sanitizer",
    [pytest.param(name, marks=() if name == "plain" else pytest.mark.slow) for name in SANITIZERS],
)
@pytest.mark.parametrize("program", LINKED)
def test_program(program: str, sanitizer: str, tmp_path: Path) -> None:
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C compiler ({compiler}) here; set CC")
    built = tmp_path / program
    sources = [TESTS / f"{program}.c", *(SOURCES / f"{name}.c" for name in LINKED[program])]
    command = [compiler, *FLAGS, *SANITIZERS[sanitizer], *map(str, sources), "-o", str(built), "-lm"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr[-4000:]
    done = subprocess.run([built], capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-6000:]}"
