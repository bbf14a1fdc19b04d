"""The client's errors: same tree as the daemon's, and the right one for each status."""

import inspect

import pytest

import hypura_client.errors as client_errors
import hypura_daemon.errors as daemon_errors
from hypura_client.errors import HypuraError, from_status


def test_every_error_of_the_daemon_is_mirrored_with_its_parents() -> None:
    for name, theirs in inspect.getmembers(daemon_errors, inspect.isclass):
        ours = getattr(client_errors, name)
        assert issubclass(ours, HypuraError)
        named = [base.__name__ for base in theirs.__mro__ if base.__module__ == daemon_errors.__name__]
        mirrored = [base.__name__ for base in ours.__mro__ if base.__module__ == client_errors.__name__]
        assert [base for base in mirrored if base != "DaemonError"] == named


@pytest.mark.parametrize(
    ("code", "metadata", "expected"),
    [
        ("NOT_FOUND", [("hypura-error", "ModelNotFound")], "ModelNotFound"),
        ("RESOURCE_EXHAUSTED", [("hypura-error", b"BudgetTooSmall")], "BudgetTooSmall"),
        ("UNAVAILABLE", [("other", "x"), ("hypura-error", "WorkerDied")], "WorkerDied"),
        ("INVALID_ARGUMENT", [("hypura-error", "AddedLater")], "InvalidRequest"),
        ("UNAVAILABLE", [("hypura-error", "AddedLater")], "DaemonError"),
        ("RESOURCE_EXHAUSTED", None, "DaemonError"),
        ("NOT_FOUND", None, "ModelNotFound"),
        ("INTERNAL", (), "WorkerFailed"),
        ("UNAVAILABLE", None, "CannotConnect"),
        ("DEADLINE_EXCEEDED", None, "DeadlineExceeded"),
        ("CANCELLED", None, "Cancelled"),
        ("UNIMPLEMENTED", None, "UnexpectedReply"),
        ("DATA_LOSS", None, "DaemonError"),
    ],
)
def test_a_status_becomes_the_error_it_names_or_the_one_of_its_code(
    code: str, metadata: list[tuple[str, str]] | None, expected: str
) -> None:
    assert type(from_status(code, "why", metadata, "unix:/x")).__name__ == expected


def test_a_status_without_message_still_says_something() -> None:
    assert "DATA_LOSS" in str(from_status("DATA_LOSS", None, None, "unix:/x"))
