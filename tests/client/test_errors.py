"""The client's errors: the same tree as the daemon's, and the right error for each status."""

import pytest

import hypura_client.errors as client_errors
import hypura_daemon.errors as daemon_errors
from hypura_client.errors import HypuraError, from_status


def test_every_error_that_the_daemon_sends_is_mirrored_with_its_parents() -> None:
    for theirs in daemon_errors.CLASSES.values():
        ours = getattr(client_errors, theirs.__name__)
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


RAW = (
    ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: unix:/x y: Connection refused"),
    ("UNAVAILABLE", "failed to connect to all addresses; last error: UNAVAILABLE: unix:/x: Socket closed"),
    ("UNAVAILABLE", "Socket closed"),
    ("UNAVAILABLE", "recvmsg:Connection reset by peer"),
    ("UNAVAILABLE", "GOAWAY received"),
    ("UNAVAILABLE", "connections to all backends failing; last error: UNKNOWN: Permission denied"),
    ("UNAVAILABLE", "failed to connect; Trying to connect an http1.x server"),
    ("UNAVAILABLE", None),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    ("CANCELLED", "Locally cancelled by application!"),
    ("UNIMPLEMENTED", "Method not found!"),
    ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (300 vs. 256)"),
    ("INTERNAL", "Received RST_STREAM with error code 2"),
    ("INTERNAL", "Exception deserializing response!"),
    ("UNKNOWN", "Stream removed"),
    ("DATA_LOSS", "Exception iterating requests!"),
    ("UNAUTHENTICATED", "Received http2 header with status: 401"),
)


@pytest.mark.parametrize(("code", "words"), RAW)
def test_messages_of_grpc_itself_are_replaced(code: str, words: str | None) -> None:
    told = str(from_status(code, words, None, "unix:/x%20y/control.sock"))
    assert words is None or words not in told
    for raw in ("unix:", "%20", "UNKNOWN:", "all addresses", "RST_STREAM", "Socket closed", "http2", "Deadline Exc"):
        assert raw not in told
    assert code == "CANCELLED" or ";" in told or ":" in told  # What happened, and what to do.
    assert "/x y/control.sock" in told or code in ("CANCELLED", "RESOURCE_EXHAUSTED")
