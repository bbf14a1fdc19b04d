"""The check of the installed llama.cpp against the layouts that the hook relies on."""

from __future__ import annotations

import pytest

from hypura_worker.errors import IncompatibleLibrary
from hypura_worker.llama import library


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
