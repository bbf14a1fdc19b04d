"""The check of the installed llama.cpp against the layouts that the hook relies on."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hypura_worker.errors import IncompatibleLibrary
from hypura_worker.llama import graph, kv_memory, library
from hypura_worker.llama.arena import Arena
from hypura_worker.streaming import dense, prediction
from hypura_worker.streaming import expert_state as state


@pytest.mark.parametrize("version", ["0.3.35", "0.3.37", "0.4.0", "1.0"])
def test_a_version_that_was_not_checked_is_refused(version: str) -> None:
    with pytest.raises(IncompatibleLibrary, match=r"install 0\.3\.36"):
        library.check_version(version)


def test_the_installed_version_passes() -> None:
    library.check_version()
    library.hook()


def test_another_tensor_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_OBJECT_OVERHEAD_BYTES", 40)
    library.hook.cache_clear()
    with pytest.raises(IncompatibleLibrary, match="bytes where the hook expects"):
        library.hook()
    monkeypatch.undo()
    library.hook.cache_clear()
    library.hook()


def test_operations_have_the_numbers_of_the_library() -> None:
    calls = library.ggml_calls()
    assert library.ggml().ggml_op_name(calls.op_mul_mat_id) == b"MUL_MAT_ID"
    assert library.ggml().ggml_op_name(calls.op_get_rows) == b"GET_ROWS"


ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "hypura_worker" / "llama" / "csrc"


def _fields_of_headers() -> dict[str, list[str]]:
    """The structures of the headers, as text: {name: fields in order}."""
    text = "".join(path.read_text() for path in sorted(SOURCES.glob("*.h")))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found: dict[str, list[str]] = {}
    for before, body, after in re.findall(r"struct (hypura_\w+ )?\{(.*?)\}\s*(\w*);", text, flags=re.DOTALL):
        name = after or before.strip()
        found[name] = []
        for declaration in filter(None, (" ".join(part.split()) for part in body.split(";"))):
            pointer = re.match(r".*\(\*(\w+)\)\(", declaration)
            names = [pointer[1]] if pointer else [part.split("[")[0].split()[-1] for part in declaration.split(",")]
            found[name] += [name.lstrip("*") for name in names]
    return found


def test_every_field_of_the_hook_is_compared_with_its_mirror() -> None:
    """Sizes alone agree when two fields of one size change places."""
    library.hook()
    headers, compiled = _fields_of_headers(), library._compiled
    ours = {"hypura_request", "hypura_product", "hypura_rows", "hypura_products"}  # of C alone
    assert set(compiled) == set(headers) - ours == set(library._mirrors)
    for structure, fields in compiled.items():
        assert list(fields) == ["", *headers[structure]], structure


def test_a_mirror_with_fields_in_another_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    library.hook()
    monkeypatch.setattr(library, "_mirrors", dict(library._mirrors))
    with pytest.raises(IncompatibleLibrary, match=r"hypura_batch\.error.*\(4, 4\), not \(0, 4\)"):

        @library.mirrors("hypura_batch")
        class Swapped(ctypes.Structure):
            _fields_ = tuple(
                (name, ctypes.c_int32) for name in ("error", "pending", "failed_tag", "unwanted", "dropped")
            )


def _constants_of_headers() -> dict[str, int]:
    """Numbers that the headers define by name, enumerators included."""
    text = "".join(path.read_text() for path in sorted(SOURCES.glob("*.h")))
    found = {name: int(value) for name, value in re.findall(r"#define (\w+) (\d+)\b(?!\s*[*/+-]\s*\w)", text)}
    for body in re.findall(r"typedef enum \{(.*?)\}", text, flags=re.DOTALL):
        number = -1
        for enumerator in (part.strip() for part in body.split(",")):
            name, _, value = enumerator.partition(" = ")
            number = int(value) if value else number + 1
            found[name] = number
    return found


def test_constants_that_python_repeats_are_those_of_the_headers() -> None:
    """A failure with another number would be reported as another one."""
    headers = _constants_of_headers()
    repeated = {
        "HYPURA_AVERAGES": prediction._AVERAGES,
        "HYPURA_EVIDENCE": prediction.EVIDENCE,
        "HYPURA_MAX_WEIGHTS": state.MAX_WEIGHTS,
        "HYPURA_MAX_PARTS": state.MAX_PARTS,
        "HYPURA_MAX_PREDICTED": state.MAX_PREDICTED,
        "HYPURA_LOOKAHEADS": state.LOOKAHEADS,
        "HYPURA_READ_FAILED": state.READ_FAILED,
        "HYPURA_GUARD": state.GUARD,
        "HYPURA_NO_SLOTS": state.NO_SLOTS,
        "HYPURA_NO_EXPERT": state.NO_EXPERT,
        "HYPURA_NO_MEMORY": state.NO_MEMORY,
        "HYPURA_MISREAD": state.MISREAD,
        "HYPURA_NOT_COMPUTED": state.NOT_COMPUTED,
        "HYPURA_DENSE_MISREAD": dense._MISREAD,
        "HYPURA_MAX_KV": kv_memory._MOST_TENSORS,
    }
    assert repeated == {name: headers[name] for name in repeated}
    assert headers["HYPURA_MAX_ROWS"] // 2 * headers["HYPURA_MAX_WEIGHTS"] == graph._NODES  # HYPURA_MAX_VIEWS


def test_there_is_one_ggml(tmp_path: Path) -> None:
    """Seen: libggml-base and libggml, opened by path, came a second time, with another registry and logger."""
    program = (
        "from hypura_worker.tools import probe\n"
        "from hypura_worker.llama import library, log\n"
        "from hypura_worker.llama.graph import CpuBackend\n"
        "log.redirect(); library.hook(); CpuBackend(1, 8).close(); probe._ggml('ggml_backend_dev_count', int)\n"
        "import ctypes, llama_cpp\n"
        "llama = llama_cpp.llama_cpp._lib\n"
        "for name in ('ggml_log_set', 'ggml_backend_dev_by_type', 'ggml_backend_buffer_init'):\n"
        "    ours, theirs = getattr(library.ggml(), name), getattr(llama, name)\n"
        "    assert library.address_of(ours) == library.address_of(theirs), name\n"
        "import os\n"
        "maps = '/proc/self/maps'\n"
        "lines = open(maps).read().splitlines() if os.path.exists(maps) else []\n"
        "print(*sorted({line.split()[-1] for line in lines if 'libggml' in line}), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    names = [Path(line).name.split(".")[0] for line in done.stdout.split()]
    assert len(names) == len(set(names)), done.stdout
    if sys.platform == "linux":
        assert {"libggml", "libggml-base"} <= set(names)


@pytest.mark.parametrize("compiler", ["cc", "musl-gcc"])
def test_the_hook_needs_nothing_but_posix_by_name(compiler: str) -> None:
    """Seen: clock_gettime without a declaration, since strict C hides it; musl's headers are strict by default."""
    if shutil.which(compiler) is None and compiler != "cc":
        pytest.skip(f"no {compiler} here: cc alone checks the headers of glibc or Apple")
    for source in sorted(SOURCES.glob("*.c")):
        strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-fsyntax-only"]
        done = subprocess.run([compiler, *strict, str(source)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:2000]


def _source(tensor: int, index: int, source: int | None) -> None:
    """Set tensor->src[index], which follows flags in ggml_tensor."""
    at = 4 + 4 + 8 + 4 * 8 + 4 * 8 + 4 + 64 + 4  # type, padding, buffer, ne, nb, op, op_params, flags
    (ctypes.c_void_p * 10).from_address(tensor + at)[index] = source


@pytest.mark.parametrize("place", [0, 1, 5, 9])
def test_a_source_after_a_missing_one_is_checked(place: int) -> None:
    """ggml allows holes among a node's sources: rows that are not in memory would have been read there."""
    base, hooked = library.ggml(), library.hook()
    context = base.ggml_init(library.InitParams(16 * base.ggml_tensor_overhead(), None, True))
    arena = Arena()
    try:
        rows = base.ggml_new_tensor_3d(context, 0, 4, 8, 1)
        node = base.ggml_reshape_1d(context, base.ggml_new_tensor_3d(context, 0, 4, 8, 1), 32)
        ctypes.c_int32.from_address(node + 80).value = library.ggml_calls().op_add
        for index in range(10):
            _source(node, index, rows if index == place else None)
        assert library.describe(node).op == library.ggml_calls().op_add
        assert library.describe(node).sources[0] == (rows if place == 0 else None)
        arena.gather(rows)
        table = (ctypes.c_byte * 64)()
        state = dense._State(
            ggml=ctypes.addressof(library.ggml_calls()),
            arena=arena.handle,
            table=ctypes.addressof(table),
            table_length=4,
        )
        hooked.hypura_dense_eval.restype = ctypes.c_bool
        hooked.hypura_dense_eval.argtypes = [ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p]
        hooked.hypura_dense_eval(node, True, ctypes.addressof(state))
        assert state.failed == dense._MISREAD
    finally:
        arena.free()
        base.ggml_free(context)
