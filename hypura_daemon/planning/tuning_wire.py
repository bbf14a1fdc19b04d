"""What tuning found as hypura.v1.Tuning."""

from hypura.v1 import control_pb2
from hypura_daemon.planning.tunings import Tuning
from hypura_daemon.planning.wire import mode_of, mode_to_proto, run_settings, settings_to_proto


def tuning_of(message: control_pb2.Tuning) -> Tuning:
    """What a client found; ranges are checked where it is kept. Raises InvalidRequest for an unknown mode."""
    return Tuning(
        mode=mode_of(message.mode),
        settings=run_settings(message.settings),
        memory_limit_bytes=message.memory_limit_bytes,
        decode_gain=message.decode_gain,
        prompt_gain=message.prompt_gain,
    )


def tuning_to_proto(tuning: Tuning, machine: str) -> control_pb2.Tuning:
    """The message; machine: this one, which tells whether the tuning is used."""
    return control_pb2.Tuning(
        mode=mode_to_proto(tuning.mode),
        settings=settings_to_proto(tuning.settings),
        memory_limit_bytes=tuning.memory_limit_bytes,
        decode_gain=tuning.decode_gain,
        prompt_gain=tuning.prompt_gain,
        measured_at_seconds=tuning.measured_at_seconds,
        stale=tuning.machine != machine,
    )
