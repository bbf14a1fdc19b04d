"""What surrounds every chunk of a completion's stream; put together as text, since one is written for every token."""

import json

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.openai.identity import Identity
from hypura_daemon.gateway.openai.usage import Usage

FINGERPRINT = "fp_hypura"
_DONE = b"data: [DONE]\n\n"


class Frame:
    """Frames the choices of one stream; usage: whether it ends with what it cost."""

    def __init__(self, identity: Identity, kind: str, *, usage: bool) -> None:
        self._head = (
            f'data: {{"id":"{identity.id}","object":"{kind}","created":{identity.created},'
            f'"model":{json.dumps(identity.model)},"system_fingerprint":"{FINGERPRINT}","choices":['
        )
        self._tail = '],"usage":null}\n\n' if usage else "]}\n\n"
        self._usage = usage

    def choice(self, index: int, new: str, logprobs: str = "null", finish: str = "null") -> bytes:
        """One chunk; new is the JSON member that says what is new, the others are JSON values."""
        choice = f'{{"index":{index},{new},"logprobs":{logprobs},"finish_reason":{finish}}}'
        return f"{self._head}{choice}{self._tail}".encode()

    def end(self, usage: Usage) -> bytes:
        """The last lines."""
        told = f'{self._head}],"usage":{usage.ascii_json()}}}\n\n'.encode() if self._usage else b""
        return told + _DONE


def progress(prefill: inference_pb2.PrefillProgress) -> bytes:
    """A comment, which clients pass over, that keeps the connection alive while the prompt is processed."""
    return f": prompt {prefill.processed_tokens} of {prefill.prompt_tokens} tokens\n\n".encode()
