"""The error kinds of errors.proto: every kind has one status, and one class in the daemon and in the client."""

from types import ModuleType
from typing import TypeVar

import grpc
import pytest

import hypura_client.errors
import hypura_daemon.errors
import hypura_worker.errors
from hypura.error_kinds import KINDS, METADATA_KEY, grpc_code, http_status, kind_named, name_in, name_of
from hypura.v1.errors_pb2 import ERROR_KIND_INTERNAL, ErrorKind
from hypura_client.errors import from_status

E = TypeVar("E", bound=Exception)


def classes_of(module: ModuleType, base: type[E]) -> list[type[E]]:
    return [found for found in vars(module).values() if isinstance(found, type) and issubclass(found, base)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_name_and_a_status(kind: ErrorKind) -> None:
    assert kind_named(name_of(kind)) == kind
    assert grpc_code(kind) in grpc.StatusCode.__members__
    assert 400 <= http_status(kind) < 600


def test_every_kind_is_one_class_of_the_daemon_and_each_of_its_classes_is_one_kind() -> None:
    assert set(hypura_daemon.errors.CLASSES) == set(map(name_of, KINDS))
    for error in classes_of(hypura_daemon.errors, hypura_daemon.errors.HypuraError):
        if error is not hypura_daemon.errors.SettingsError:  # Never leaves the daemon: it does not start.
            assert hypura_daemon.errors.CLASSES[error.kind] is error


def test_every_kind_is_the_class_of_the_same_name_in_the_client() -> None:
    assert set(hypura_client.errors.CLASSES) == set(KINDS)
    for kind in KINDS:
        found = from_status(grpc_code(kind), "why", ((METADATA_KEY, name_of(kind)),), "unix:/x")
        assert type(found) is hypura_client.errors.CLASSES[kind]
        daemons = hypura_daemon.errors.CLASSES[name_of(kind)]
        expected = "WorkerFailed" if kind == ERROR_KIND_INTERNAL else daemons.__name__
        assert type(found).__name__ == expected


def test_every_error_of_a_worker_is_one_that_the_daemon_reports() -> None:
    found = classes_of(hypura_worker.errors, hypura_worker.errors.WorkerError)
    assert {error.kind for error in found} <= set(KINDS)
    internal = [error for error in found if error.kind == ERROR_KIND_INTERNAL]
    assert internal == [hypura_worker.errors.WorkerError], "each says what kind it is"


def test_a_name_that_this_version_does_not_know_is_no_kind() -> None:
    assert kind_named(name_in((("other", "x"), (METADATA_KEY, b"AddedLater")))) is None
    assert kind_named("Unspecified") is None
    assert name_in(None) == "" == name_in((("other", "x"),))
